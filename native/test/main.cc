#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <sstream>
#include <vector>

#include "test/harness.h"

namespace wgqa::test {
namespace {

struct Test {
  std::string name;
  std::function<void()> body;
};

// A function's static: tests are added while other files' constants are still being initialised.
std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

int failures = 0;

struct Options {
  std::vector<std::string> filters;  // a test runs if its name holds any of them
  int share = 0;                     // of the tests in turn, one in `shares`
  int shares = 1;
  bool list = false;

  bool chooses(const Test& test) const {
    return filters.empty() ||
           std::any_of(filters.begin(), filters.end(), [&](const std::string& filter) {
             return test.name.find(filter) != std::string::npos;
           });
  }
};

bool parseOptions(int argc, char** argv, Options& options) {
  constexpr std::string_view kFilter = "--filter=";
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--list") {
      options.list = true;
    } else if (argument.starts_with(kFilter)) {
      options.filters.emplace_back(argument.substr(kFilter.size()));
    } else if (std::sscanf(argv[i], "--share=%d/%d", &options.share, &options.shares) != 2) {
      std::fprintf(stderr, "usage: %s [--list] [--share=k/n] [--filter=substring]...\n", argv[0]);
      return false;
    }
  }
  if (options.share >= 0 && options.share < options.shares) return true;
  std::fprintf(stderr, "--share=k/n: k must be from 0 to n - 1\n");
  return false;
}

bool passes(const Test& test) {
  failures = 0;
  try {
    test.body();
  } catch (const std::exception& error) {
    fail(std::string("stopped by an exception: ") + error.what());
  } catch (...) {
    fail("stopped by an exception of unknown type");
  }
  std::printf("%s %s\n", failures == 0 ? "ok  " : "FAIL", test.name.c_str());
  std::fflush(stdout);
  return failures == 0;
}

}  // namespace

bool addTest(std::string name, std::function<void()> body) {
  tests().push_back({std::move(name), std::move(body)});
  return true;
}

void fail(const std::string& message, const std::source_location& where) {
  ++failures;
  std::printf("  %s:%u: %s\n", where.file_name(), where.line(), message.c_str());
}

void note(const std::string& message) { std::printf("  note: %s\n", message.c_str()); }

std::string describeInteger(long long value) { return std::to_string(value); }
std::string describeInteger(unsigned long long value) { return std::to_string(value); }

std::string describeNumber(double value) {
  std::ostringstream text;
  text.precision(17);
  text << value;
  return text.str();
}

void failComparison(const char* text, const std::string& actual, const std::string& expected,
                    const std::source_location& where) {
  fail(std::string(text) + ": got " + actual + ", expected " + expected, where);
}

void checkNear(double actual, double expected, double tolerance, const char* text,
               const std::source_location& where) {
  if (actual == expected || std::abs(actual - expected) <= tolerance) return;
  failComparison(text, describe(actual), describe(expected) + " within " + describe(tolerance),
                 where);
}

void checkThrows(ErrorCode code, const std::function<void()>& body, const char* text,
                 const std::source_location& where) {
  const std::string expected = std::string(", expected ") + errorCodeName(code);
  try {
    body();
  } catch (const Error& error) {
    if (error.code() == code) return;
    fail(std::string(text) + ": threw " + errorCodeName(error.code()) + " (" + error.what() + ")" +
             expected,
         where);
    return;
  } catch (const std::exception& error) {
    fail(std::string(text) + ": threw a foreign exception: " + error.what(), where);
    return;
  }
  fail(std::string(text) + ": did not throw" + expected, where);
}

int failuresOfRunningTest() { return failures; }

int runTests(int argc, char** argv) {
  Options options;
  if (!parseOptions(argc, argv, options)) return 2;
  std::sort(tests().begin(), tests().end(),
            [](const Test& a, const Test& b) { return a.name < b.name; });
  int passed = 0;
  int failed = 0;
  int chosen = 0;
  for (const Test& test : tests()) {
    if (!options.chooses(test) || chosen++ % options.shares != options.share) continue;
    if (options.list) {
      std::printf("%s\n", test.name.c_str());
    } else {
      ++(passes(test) ? passed : failed);
    }
  }
  if (options.list) return 0;
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}

}  // namespace wgqa::test

#if defined(__SANITIZE_ADDRESS__)
// Tests exhaust memory on purpose and expect an error, as without the sanitizer, which looks this
// function up in the program.
extern "C" __attribute__((visibility("default"))) const char* __asan_default_options() {
  return "allocator_may_return_null=1";
}
#endif

int main(int argc, char** argv) { return wgqa::test::runTests(argc, argv); }
