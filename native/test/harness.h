// A small test harness: a bare host with a compiler and no test library runs every native test.
//
//   WGQA_TEST(softmaxSumsToOne) { CHECK_NEAR(sum, 1.0, 1e-12); }
//
// A failing check is printed with its place and values and the test goes on; an exception ends its
// test and fails it.
#pragma once

#include <cmath>
#include <exception>
#include <functional>
#include <source_location>
#include <sstream>
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

template <typename T>
std::string describe(const T& value) {
  std::ostringstream text;
  text.precision(17);
  if constexpr (requires { text << value; }) {
    text << value;
  } else if constexpr (std::is_enum_v<T>) {
    text << static_cast<long long>(value);
  } else {
    text << "(a value that cannot be printed)";
  }
  return text.str();
}

template <typename A, typename B>
bool equal(const A& a, const B& b) {
  if constexpr (std::is_integral_v<A> && std::is_integral_v<B> && !std::is_same_v<A, B>) {
    return std::cmp_equal(a, b);
  } else {
    return a == b;
  }
}

template <typename A, typename B>
void checkEqual(const A& actual, const B& expected, const char* text,
                const std::source_location& where) {
  if (equal(actual, expected)) return;
  fail(std::string(text) + ": got " + describe(actual) + ", expected " + describe(expected), where);
}

/// NaN is near nothing; an infinity is near itself only.
inline void checkNear(double actual, double expected, double tolerance, const char* text,
                      const std::source_location& where) {
  if (actual == expected || std::abs(actual - expected) <= tolerance) return;
  fail(std::string(text) + ": got " + describe(actual) + ", expected " + describe(expected) +
           " within " + describe(tolerance),
       where);
}

template <typename Body>
void checkThrows(ErrorCode code, const Body& body, const char* text,
                 const std::source_location& where) {
  try {
    body();
  } catch (const Error& error) {
    if (error.code() == code) return;
    fail(std::string(text) + ": threw " + errorCodeName(error.code()) + " (" + error.what() +
             "), expected " + errorCodeName(code),
         where);
    return;
  } catch (const std::exception& error) {
    fail(std::string(text) + ": threw a foreign exception: " + error.what(), where);
    return;
  }
  fail(std::string(text) + ": did not throw, expected " + errorCodeName(code), where);
}

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
