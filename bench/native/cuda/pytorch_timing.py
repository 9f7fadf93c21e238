"""What the comparisons with PyTorch share: timing on the device, and results as the C++ programs' files have them."""

import argparse
import json
import statistics

import torch


def milliseconds(run, repetitions: int, warm_up: int = 3) -> float:
    """Median time of `run` by CUDA events, after warming up."""
    for _ in range(warm_up):
        run()
    times = []
    for _ in range(repetitions):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def main(description: str, measure, repetitions: int) -> None:
    """Runs `measure(repetitions)`, a list of results, and writes them where the command line says."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    parser.add_argument("--repetitions", type=int, default=repetitions)
    options = parser.parse_args()
    results = measure(options.repetitions)
    if options.json:
        report = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "results": results}
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=2)
