#include "bench_support.h"

#include <oneapi/dnnl/dnnl.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>

#include "base/error.h"
#include "base/parallel.h"

namespace wgqa::bench {
namespace {

constexpr double kGiga = 1e9;

double secondsOf(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
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
                 "\"unit\": \"%s\", \"share\": %.4f}%s\n",
                 ratio.name.c_str(), ratio.rate / kGiga, ratio.limitName.c_str(),
                 ratio.limit / kGiga, ratio.unit.c_str(), ratio.share(),
                 i + 1 < ratios.size() ? "," : "");
  }
  std::fprintf(file, "  ]\n}\n");
  const bool written = std::ferror(file) == 0;
  return std::fclose(file) == 0 && written;
}

}  // namespace

void measureInterleaved(std::vector<Subject>& subjects, int repetitions) {
  for (Subject& subject : subjects) subject.run();
  std::vector<std::vector<double>> times(subjects.size());
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    for (std::size_t i = 0; i < subjects.size(); ++i) {
      times[i].push_back(secondsOf(subjects[i].run));
    }
  }
  for (std::size_t i = 0; i < subjects.size(); ++i) subjects[i].seconds = median(times[i]);
}

void compare(Subject limit, std::vector<Subject> subjects, const std::string& unit,
             const Options& options, std::vector<Ratio>& ratios) {
  subjects.insert(subjects.begin(), std::move(limit));
  measureInterleaved(subjects, options.repetitions);
  const Subject& best = subjects.front();
  for (std::size_t i = 1; i < subjects.size(); ++i) {
    ratios.push_back({subjects[i].name, subjects[i].rate(), best.name, best.rate(), unit});
  }
}

LargeArray::LargeArray(std::size_t bytes) : bytes_(bytes) {
  void* address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) {
    throw Error(ErrorCode::outOfMemory, "cannot map " + std::to_string(bytes) + " bytes");
  }
  data_ = address;
#ifdef MADV_HUGEPAGE
  madvise(data_, bytes, MADV_HUGEPAGE);
#endif
  // Written once, so that pages are the array's own and not all the one page of zeros.
  std::memset(data_, 0, bytes);
}

LargeArray::~LargeArray() { munmap(data_, bytes_); }

Subject readBandwidth() {
  constexpr std::int64_t kWords = std::int64_t{1} << 25;  // 256 MiB
  const auto array = std::make_shared<LargeArray>(kWords * sizeof(std::uint64_t));
  const auto sum = std::make_shared<std::atomic<std::uint64_t>>(0);
  const auto run = [array, sum] {
    const auto* words = array->as<std::uint64_t>();
    parallelFor(kWords, 1 << 16, [&](std::int64_t begin, std::int64_t end, int) {
      std::uint64_t part = 0;
      for (std::int64_t i = begin; i < end; ++i) part += words[i];
      *sum += part;
    });
  };
  return {.name = "read bandwidth", .work = kWords * 8.0, .run = run};
}

Subject sgemmRate() {
  constexpr dnnl_dim_t kRows = 512;
  constexpr dnnl_dim_t kColumns = 512;
  constexpr dnnl_dim_t kDepth = 2048;
  struct Matrices {
    std::vector<float> a = std::vector<float>(kRows * kDepth, 0.5f);
    std::vector<float> b = std::vector<float>(kDepth * kColumns, 0.25f);
    std::vector<float> c = std::vector<float>(kRows * kColumns);
  };
  const auto m = std::make_shared<Matrices>();
  const auto run = [m] {
    dnnl_sgemm('N', 'N', kRows, kColumns, kDepth, 1.0f, m->a.data(), kDepth, m->b.data(), kColumns,
               0.0f, m->c.data(), kColumns);
  };
  return {.name = "oneDNN sgemm", .work = 2.0 * kRows * kColumns * kDepth, .run = run};
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
                ratio.rate / kGiga, ratio.unit.c_str(), 100.0 * ratio.share(),
                ratio.limitName.c_str(), ratio.limit / kGiga);
  }
  if (options.jsonFile.empty() || writeJson(title, ratios, options.jsonFile)) return 0;
  std::fprintf(stderr, "cannot write %s\n", options.jsonFile.c_str());
  return 1;
}

}  // namespace wgqa::bench
