#include "bench_support.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <string_view>

#include "base/parallel.h"

namespace wgqa::bench {
namespace {

// What one of a unit is.
double sizeOf(const std::string& unit) { return unit.starts_with('G') ? 1e9 : 1.0; }

double secondsOf(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Linear interpolation between the values around the place, as src/report/statistics.ts does it.
double quantile(std::vector<double> values, double share) {
  std::ranges::sort(values);
  const double place = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (values[above] - values[below]) * (place - static_cast<double>(below));
}

bool writeJson(const std::string& title, const std::vector<Ratio>& ratios,
               const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr) return false;
  std::fprintf(file, "{\n  \"benchmark\": \"%s\",\n  \"threads\": %d,\n  \"results\": [\n",
               title.c_str(), threadCount());
  for (std::size_t i = 0; i < ratios.size(); ++i) {
    const Ratio& ratio = ratios[i];
    std::fprintf(file,
                 "    {\"name\": \"%s\", \"rate\": %.4g, \"limitName\": \"%s\", \"limit\": %.4g, "
                 "\"unit\": \"%s\", \"spread\": [%.4f, %.4f]}%s\n",
                 ratio.name.c_str(), ratio.rate / sizeOf(ratio.unit), ratio.limitName.c_str(),
                 ratio.limit / sizeOf(ratio.unit), ratio.unit.c_str(), ratio.low, ratio.high,
                 i + 1 < ratios.size() ? "," : "");
  }
  std::fprintf(file, "  ]\n}\n");
  const bool written = std::ferror(file) == 0;
  return std::fclose(file) == 0 && written;
}

}  // namespace

void measureInterleaved(std::vector<Subject>& subjects, int repetitions) {
  for (Subject& subject : subjects) subject.run();
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    for (Subject& subject : subjects) subject.times.push_back(secondsOf(subject.run));
  }
}

double Subject::rate() const { return work / quantile(times, 0.5); }

Ratio ratioOf(const Subject& subject, const Subject& limit, const std::string& unit) {
  std::vector<double> shares;
  for (std::size_t i = 0; i < subject.times.size(); ++i) {
    shares.push_back(subject.work / subject.times[i] * limit.times[i] / limit.work);
  }
  return {subject.name,           subject.rate(),        limit.name, limit.rate(), unit,
          quantile(shares, 0.25), quantile(shares, 0.75)};
}

void compare(Subject limit, std::vector<Subject> subjects, const std::string& unit,
             const Options& options, std::vector<Ratio>& ratios) {
  subjects.insert(subjects.begin(), std::move(limit));
  measureInterleaved(subjects, options.repetitions);
  const Subject& best = subjects.front();
  for (std::size_t i = 1; i < subjects.size(); ++i) {
    ratios.push_back(ratioOf(subjects[i], best, unit));
  }
}

bool parseOptions(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const std::string_view value = i + 1 < argc ? argv[i + 1] : "";
    bool valid = !value.empty();
    if (argument == "--json") {
      options.jsonFile = value;
    } else if (argument == "--repetitions") {
      const auto [end, error] =
          std::from_chars(value.data(), value.data() + value.size(), options.repetitions);
      valid = valid && error == std::errc() && end == value.data() + value.size() &&
              options.repetitions > 0;
    } else {
      valid = false;
    }
    if (!valid) {
      std::fprintf(stderr, "usage: %s [--json FILE] [--repetitions N]\n", argv[0]);
      return false;
    }
    ++i;
  }
  return true;
}

int report(const std::string& title, const std::vector<Ratio>& ratios, const Options& options) {
  std::printf("%s, %d threads\n", title.c_str(), threadCount());
  for (const Ratio& ratio : ratios) {
    std::printf("  %-44s %8.1f %-8s %5.1f %% of %s (%.1f)\n", ratio.name.c_str(),
                ratio.rate / sizeOf(ratio.unit), ratio.unit.c_str(), 100.0 * ratio.share(),
                ratio.limitName.c_str(), ratio.limit / sizeOf(ratio.unit));
  }
  if (options.jsonFile.empty() || writeJson(title, ratios, options.jsonFile)) return 0;
  std::fprintf(stderr, "cannot write %s\n", options.jsonFile.c_str());
  return 1;
}

}  // namespace wgqa::bench
