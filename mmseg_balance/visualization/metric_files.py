"""Files that metrics have written, as pictures read them."""

from mmengine.fileio import load


def read_metric_file(path: str, metric: str, keys: tuple[str, ...]) -> dict:
    """Read the ``out_file`` of a metric.

    Args:
        path: The file.
        metric: Class that writes such files, for the message.
        keys: What the file must have.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, or another metric wrote it.
    """
    try:
        report = load(path)
    # No JSON inside, or a suffix that MMEngine does not know.
    except (ValueError, TypeError) as error:
        raise ValueError(f'{path} is no out_file of {metric}: {error}') from error
    missing = [key for key in keys if key not in report] if isinstance(report, dict) else keys
    if missing:
        raise ValueError(
            f'{path} is no out_file of {metric}: it lacks {", ".join(missing)}; give the file '
            f"that dict(type='{metric}', out_file=…) wrote"
        )
    return report
