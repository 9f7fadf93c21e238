// What the native benchmarks share: interleaved timing, shares of limits measured in the same run,
// and output as text and JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace wgqa::bench {

/// One thing that is timed. `work` counts what a run does, in the unit of its limit: bytes or
/// floating point operations.
struct Subject {
  std::string name;
  double work = 0.0;
  std::function<void()> run = {};
  std::vector<double> times = {};  // result: seconds of each repetition

  /// Work per second of the median repetition.
  double rate() const;
};

/// Runs all subjects once to warm up and then `repetitions` times in turn, so that a change of the
/// machine's speed meets all of them alike; sets the times of each.
void measureInterleaved(std::vector<Subject>& subjects, int repetitions);

/// One line of a benchmark's result: a rate as a share of a limit from the same run.
struct Ratio {
  std::string name;
  double rate = 0.0;
  std::string limitName;
  double limit = 0.0;
  std::string unit;  // "GB/s", "GFLOP/s" or "tokens/s"
  double low = 0.0;  // quartiles of the share, each repetition with the limit beside it
  double high = 0.0;

  double share() const { return rate / limit; }
};

/// The subject's share of a limit that was measured in turn with it.
Ratio ratioOf(const Subject& subject, const Subject& limit, const std::string& unit);

struct Options;

/// Measures `limit` and the subjects together and appends the subjects' shares of it to `ratios`.
void compare(Subject limit, std::vector<Subject> subjects, const std::string& unit,
             const Options& options, std::vector<Ratio>& ratios);

/// Command line of every benchmark: [--json FILE] [--repetitions N].
struct Options {
  std::string jsonFile;
  int repetitions = 15;
};

/// Returns whether the arguments could be used; prints the usage to stderr if not.
bool parseOptions(int argc, char** argv, Options& options);

/// Prints the ratios as a table and writes them to options.jsonFile if there is one. Returns the
/// exit code of the program: 1 if the file could not be written.
int report(const std::string& title, const std::vector<Ratio>& ratios, const Options& options);

}  // namespace wgqa::bench
