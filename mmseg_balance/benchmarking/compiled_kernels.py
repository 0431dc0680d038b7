"""What the compiler makes of the Triton kernels, for GPUs that need not be here.

    MMSEG_BALANCE_BACKEND=triton python -m mmseg_balance.benchmarking.compiled_kernels \
        --json docs/benchmarks/kernels.json --markdown docs/kernels.md

compiles every kernel for three compute capabilities and writes registers, spilled bytes, shared
memory, barriers, and what is read and written for each logit. Nothing is launched; the functions
run on zeros, and what they ask for is compiled instead. Triton's interpreter forgives what its
compiler refuses, and never runs out of registers.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from tempfile import NamedTemporaryFile

from mmseg_balance.benchmarking import record
from mmseg_balance.benchmarking.kernel_cases import Case, cases
from mmseg_balance.runtime.atomic_files import write_text

CAPABILITIES = {80: 108, 90: 132, 100: 148}  # and the processors of A100, H100 and B200
PAGE_SECTION = 'compiled kernels'
TILE_TYPE = re.compile(r'tensor<(\d+)x(\d+)x!tt\.ptr<(\w+)>')
LINE_TYPE = re.compile(r'tensor<(\d+)x!tt\.ptr<(\w+)>')
MEMORY_WORD = re.compile(r'\b(ld|st)\.global(?:\.\w+)*?(?:\.v(\d))?\.[busf](\d+)\b')
BYTES = {'i1': 1, 'i8': 1, 'f16': 2, 'bf16': 2, 'i32': 4, 'f32': 4, 'i64': 8, 'f64': 8}
# What must not grow, and by how much it may by chance.
WORSE_ABOVE = {'registers': 4, 'spilled B': 0, 'shared B': 0, 'barriers': 0, 'passes': 0}


class AbsentGPU:
    """As much of a driver as the compiler asks."""

    def __init__(self, capability: int) -> None:
        from triton.backends.compiler import GPUTarget

        self.target = GPUTarget('cuda', capability, 32)

    def get_current_target(self):
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def compile_in_place_of_launching(
    capability: int, on_kernel: Callable[[str, object], None]
) -> None:
    """From now on a launch compiles its kernel for the capability and does no more.

    Args:
        capability: such as 90.
        on_kernel: gets the kernel's name and what was compiled.
    """
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction

    from mmseg_balance.functional.primitives.triton import blocks, max_pooling

    def programs_per_row(values, most, per_processor):
        return min(most, -(-CAPABILITIES[capability] * per_processor // len(values)))

    blocks.programs_per_row = max_pooling.programs_per_row = programs_per_row
    driver.set_active(AbsentGPU(capability))
    run = JITFunction.run

    def compile_only(self, *args, **kwargs) -> None:
        on_kernel(self.fn.__name__, run(self, *args, **{**kwargs, 'warmup': True}))

    JITFunction.run = compile_only


def measure(capability: int, quick: bool = False) -> list[dict]:
    """A row for each kernel of each case."""
    rows, now = {}, [None]

    def note(kernel: str, compiled) -> None:
        key = (kernel, now[0].name)
        rows.setdefault(key, describe(kernel, now[0], compiled))

    compile_in_place_of_launching(capability, note)
    for case in cases():
        if case.quick or not quick:
            now[0] = case
            case.run()
    return list(rows.values())


def describe(kernel: str, case: Case, compiled) -> dict:
    """The row of a compiled kernel."""
    words = memory_words(compiled.asm['ptx'])
    return {
        'kernel': kernel.removesuffix('_kernel'),
        'case': case.name,
        **resources(compiled.asm['cubin']),
        'barriers': compiled.asm['ptx'].count('bar.sync'),
        'shuffles': compiled.asm['ptx'].count('shfl.sync'),
        'loads': len(words['ld']),
        'B / load': sum(words['ld']) / max(len(words['ld']), 1),
        'stores': len(words['st']),
        'B / store': sum(words['st']) / max(len(words['st']), 1),
        **traffic(compiled.asm['ttgir'], case.classes),
    }


def resources(machine_code: bytes) -> dict:
    """Registers, bytes of stack (spills) a thread, shared memory, by the tool beside Triton."""
    import triton

    tool = Path(triton.__file__).parent / 'backends' / 'nvidia' / 'bin' / 'cuobjdump'
    with NamedTemporaryFile(suffix='.cubin') as file:
        file.write(machine_code)
        file.flush()
        report = subprocess.run(
            [tool, '-res-usage', file.name], capture_output=True, text=True, check=True
        ).stdout

    def number(name: str) -> int:
        return max(int(found) for found in re.findall(rf'\b{name}:(\d+)', report))

    return {'registers': number('REG'), 'spilled B': number('STACK'), 'shared B': number('SHARED')}


def memory_words(ptx: str) -> dict[str, list[int]]:
    """Bytes a thread of each global load and store instruction.

    Example:
        >>> memory_words('@%p1 ld.global.v4.b32 { %r1 } ... st.global.b8 [ %rd1 ]')
        {'ld': [16], 'st': [1]}
    """
    words: dict[str, list[int]] = {'ld': [], 'st': []}
    for kind, vector, bits in MEMORY_WORD.findall(ptx):
        words[kind].append(int(vector or 1) * int(bits) // 8)
    return words


def traffic(ttgir: str, classes: int) -> dict:
    r"""Passes over the logits and bytes a logit, from the loads and stores of tiles and of lines.

    A tile, classes x pixels, is loaded or stored once for each logit; a line, one number a pixel,
    counts for ``1 / C`` of its bytes (another load of it in a loop over classes finds it in the
    cache). The least is one load of the logits where there is any, one store where there is any,
    and the lines.

    Example:
        >>> traffic('tt.load %a : tensor<8x64x!tt.ptr<f32>> tt.load %b : tensor<64x!tt.ptr<i64>>'
        ...         .replace(' tt', '\ntt'), 2)
        {'passes': 1, 'B / logit': 8.0, 'of the least': 1.0}
    """
    tiles: dict[str, list[int]] = {'load': [], 'store': []}
    lines = 0
    for line in ttgir.splitlines():
        kind = 'load' if 'tt.load' in line else 'store' if 'tt.store' in line else None
        if kind is None:
            continue
        if found := TILE_TYPE.search(line):
            tiles[kind].append(BYTES[found[3]] if min(int(found[1]), int(found[2])) > 1 else 0)
        elif found := LINE_TYPE.search(line):
            lines += BYTES[found[2]]
    passes = [size for sizes in tiles.values() for size in sizes if size]
    per_logit = sum(passes) + lines / classes
    least = sum(max(sizes, default=0) for sizes in tiles.values()) + lines / classes
    return {
        'passes': len(passes),
        'B / logit': round(per_logit, 3),
        'of the least': round(per_logit / least, 3) if least else None,
    }


def worse(found: list[dict], limits: list[dict]) -> list[str]:
    """What got worse than the limits allow, or has none, in sentences.

    Example:
        >>> limit = dict(kernel='k', case='c', registers=60, passes=1)
        >>> worse([dict(limit, registers=64)], [limit]), worse([dict(limit, passes=2)], [limit])
        ([], ['k, c: passes 2, was 1'])
    """
    by_key = {(row['kernel'], row['case']): row for row in limits}
    problems = []
    for row in found:
        name, limit = f'{row["kernel"]}, {row["case"]}', by_key.get((row['kernel'], row['case']))
        if limit is None:
            problems.append(f'{name}: no limit; write the table again')
            continue
        for key, slack in WORSE_ABOVE.items():
            if key in limit and row[key] > limit[key] + slack:
                problems.append(f'{name}: {key} {row[key]}, was {limit[key]}')
        for key in ('B / load', 'B / store'):
            if key in limit and row[key] < 0.9 * limit[key]:
                problems.append(f'{name}: {key} {row[key]:.1f}, was {limit[key]:.1f}')
    return problems


def one_table(rows: dict[int, list[dict]]) -> list[dict]:
    """All capabilities side by side: registers of each, the rest of H100's."""
    by_key = {
        capability: {(row['kernel'], row['case']): row for row in table}
        for capability, table in rows.items()
    }
    merged = []
    for key, row in by_key[90].items():
        all_rows = [table[key] for table in by_key.values()]
        merged.append(
            {
                'kernel': row['kernel'],
                'case': row['case'],
                'registers': ' / '.join(str(r['registers']) for r in all_rows),
                'spilled B': ' / '.join(str(r['spilled B']) for r in all_rows),
                'shared B': row['shared B'],
                'barriers': row['barriers'],
                'B / load': row['B / load'],
                'B / store': row['B / store'],
                'passes': row['passes'],
                'B / logit': row['B / logit'],
                'of the least': row['of the least'],
            }
        )
    return merged


def versions() -> dict[str, str]:
    """What the compiler's output depends on."""
    return {'triton': metadata.version('triton')}


def _in_processes(quick: bool) -> dict[int, list[dict]]:
    """Each capability in a process of its own, since it takes the driver's place."""
    call = [sys.executable, '-m', 'mmseg_balance.benchmarking.compiled_kernels']
    rows = {}
    for capability in CAPABILITIES:
        print(f'compute capability {capability / 10}', file=sys.stderr)
        options = ['--capability', str(capability), *['--quick'] * quick]
        done = subprocess.run([*call, *options], stdout=subprocess.PIPE, text=True, check=True)
        rows[capability] = json.loads(done.stdout)
    return rows


def main() -> None:
    """Compile every kernel and write or print what the compiler made of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--json', type=Path, metavar='FILE', help='limits to write')
    parser.add_argument('--markdown', type=Path, metavar='FILE', help='page with the table')
    parser.add_argument(
        '--capability', type=int, choices=CAPABILITIES, help='print the rows of one alone, as JSON'
    )
    parser.add_argument('--quick', action='store_true', help='two cases alone')
    args = parser.parse_args()
    if os.environ.get('MMSEG_BALANCE_BACKEND') != 'triton' or os.environ.get('TRITON_INTERPRET'):
        parser.error('set MMSEG_BALANCE_BACKEND=triton, and TRITON_INTERPRET not at all')
    if args.capability:
        json.dump(measure(args.capability, args.quick), sys.stdout)
        return
    rows = _in_processes(args.quick)
    if args.json:
        content = dict(versions=versions(), capabilities=rows)
        write_text(args.json, json.dumps(content, indent=1) + '\n')
    text = record.markdown(one_table(rows))
    if args.markdown:
        heading = ', '.join(f'{name} {version}' for name, version in versions().items())
        text = f'{heading}; registers and spilled bytes at 8.0 / 9.0 / 10.0.\n\n{text}'
        record.replace_section(args.markdown, PAGE_SECTION, text)
    else:
        print(text)


if __name__ == '__main__':
    main()
