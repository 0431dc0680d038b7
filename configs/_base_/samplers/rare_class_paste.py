# Every image alike; into half of them regions of a rare class of another image are pasted.
sampler = dict(type='InfiniteSampler', shuffle=True)
paste = dict(type='RareClassPaste', prob=0.5)
