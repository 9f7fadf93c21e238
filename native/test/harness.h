// A small test harness: a bare host with a compiler and no test library runs every native test.
//
//   WGQA_TEST(softmaxSumsToOne) { CHECK_NEAR(sum, 1.0, 1e-12); }
//
// A failing check is printed with its place and values and the test goes on; an exception ends its
// test and fails it. What a failure prints is put together in main.cc: here it would be compiled
// again for every check.
#pragma once

#include <functional>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "base/error.h"

namespace wgqa::test {

/// Adds a test to the program; returns true so that a constant's initialiser can call it.
bool addTest(std::string name, std::function<void()> body);

/// Fails the running test with a message; the test goes on.
void fail(const std::string& message,
          const std::source_location& where = std::source_location::current());

/// Prints a line under the running test: why a case was declined, which seed was used.
void note(const std::string& message);

/// Checks that have failed in the running test so far.
int failuresOfRunningTest();

/// Runs the tests that argv asks for and prints the totals; returns the exit code.
int runTests(int argc, char** argv);

std::string describeInteger(long long value);
std::string describeInteger(unsigned long long value);
std::string describeNumber(double value);

template <typename T>
std::string describe(const T& value) {
  if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
    using Widest = std::conditional_t<std::is_unsigned_v<T>, unsigned long long, long long>;
    return describeInteger(static_cast<Widest>(value));
  } else if constexpr (std::is_floating_point_v<T>) {
    return describeNumber(static_cast<double>(value));
  } else if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    return std::string(std::string_view(value));
  } else {
    return "(a value that cannot be printed)";
  }
}

template <typename A, typename B>
bool equal(const A& a, const B& b) {
  if constexpr (std::is_integral_v<A> && std::is_integral_v<B> && !std::is_same_v<A, B>) {
    return std::cmp_equal(a, b);
  } else {
    return a == b;
  }
}

/// Fails the running test: `text` is the check.
void failComparison(const char* text, const std::string& actual, const std::string& expected,
                    const std::source_location& where);

template <typename A, typename B>
void checkEqual(const A& actual, const B& expected, const char* text,
                const std::source_location& where) {
  if (!equal(actual, expected)) failComparison(text, describe(actual), describe(expected), where);
}

/// NaN is near nothing; an infinity is near itself only.
void checkNear(double actual, double expected, double tolerance, const char* text,
               const std::source_location& where);

void checkThrows(ErrorCode code, const std::function<void()>& body, const char* text,
                 const std::source_location& where);

}  // namespace wgqa::test

#define WGQA_TEST(name)                                 \
  static void wgqaTest_##name();                        \
  [[maybe_unused]] static const bool wgqaAdded_##name = \
      ::wgqa::test::addTest(#name, wgqaTest_##name);    \
  static void wgqaTest_##name()

#define CHECK(condition)                                           \
  do {                                                             \
    if (!(condition)) ::wgqa::test::fail("CHECK(" #condition ")"); \
  } while (false)

#define CHECK_EQUAL(actual, expected)                                                       \
  ::wgqa::test::checkEqual((actual), (expected), "CHECK_EQUAL(" #actual ", " #expected ")", \
                           std::source_location::current())

#define CHECK_NEAR(actual, expected, tolerance)                     \
  ::wgqa::test::checkNear((actual), (expected), (tolerance),        \
                          "CHECK_NEAR(" #actual ", " #expected ")", \
                          std::source_location::current())

/// The statement throws wgqa::Error with this code.
#define CHECK_THROWS(code, ...)                                                             \
  ::wgqa::test::checkThrows((code), [&] { __VA_ARGS__; }, "CHECK_THROWS(" #__VA_ARGS__ ")", \
                            std::source_location::current())
