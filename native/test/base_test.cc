// native/base: conversions, random numbers, parallel loops, memory and files.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "base/dtype.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "base/parallel.h"
#include "base/philox.h"
#include "test/harness.h"

namespace wgqa::test {
namespace {

constexpr int kPatterns = 65536;

// The value of a 16-bit floating-point pattern from the definition of the format, in double.
double decode(std::uint32_t bits, int exponentBits, int mantissaBits) {
  const int bias = (1 << (exponentBits - 1)) - 1;
  const int exponent = static_cast<int>(bits >> mantissaBits) & ((1 << exponentBits) - 1);
  const int mantissa = static_cast<int>(bits) & ((1 << mantissaBits) - 1);
  const double sign = (bits & 0x8000u) != 0 ? -1.0 : 1.0;
  if (exponent == (1 << exponentBits) - 1) {
    return mantissa == 0 ? sign * std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissaBits);
  return sign * std::ldexp(mantissa + (1 << mantissaBits), exponent - bias - mantissaBits);
}

struct Format {
  const char* name;
  int exponentBits;
  int mantissaBits;
  float (*widen)(std::uint16_t);
  std::uint16_t (*round)(float);
};

const Format kFormats[] = {
    {"bfloat16", 8, 7, [](std::uint16_t bits) { return toFloat(BFloat16{bits}); },
     [](float value) { return toBFloat16(value).bits; }},
    {"float16", 5, 10, [](std::uint16_t bits) { return toFloat(Float16{bits}); },
     [](float value) { return toFloat16(value).bits; }},
};

bool sameFloat(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; }

void checkRounding(const Format& format, float value, std::uint16_t expected) {
  const std::uint16_t actual = format.round(value);
  if (actual == expected) return;
  fail(std::string(format.name) + " of " + describe(value) + ": got pattern " + describe(actual) +
       ", expected " + describe(expected));
}

// Rounding around a pattern and its successor: the midpoint goes to the even one, its neighbours to
// the nearer one.
void checkInterval(const Format& format, std::uint16_t low) {
  const auto high = static_cast<std::uint16_t>(low + 1);
  const double below = decode(low, format.exponentBits, format.mantissaBits);
  double above = decode(high, format.exponentBits, format.mantissaBits);
  // Infinity stands for the number that would come next.
  if (std::isinf(above))
    above = 2.0 * below - decode(low - 1, format.exponentBits, format.mantissaBits);
  const auto middle = static_cast<float>(below + (above - below) / 2.0);
  const float away = (low & 0x8000u) != 0 ? -INFINITY : INFINITY;
  checkRounding(format, middle, low % 2 == 0 ? low : high);
  checkRounding(format, std::nextafter(middle, away), high);
  checkRounding(format, std::nextafter(middle, 0.0f), low);
}

// A file that is deleted at the end of the scope.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& contents) {
    const char* folder = std::getenv("TMPDIR");
    path_ = std::string(folder != nullptr ? folder : "/tmp") + "/wgqa-native-test-XXXXXX";
    const int descriptor = ::mkstemp(path_.data());
    std::FILE* file = ::fdopen(descriptor, "wb");
    std::fwrite(contents.data(), 1, contents.size(), file);
    std::fclose(file);
  }
  ~TemporaryFile() { std::remove(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

// ---------------------------------------------------------------------------- dtypes

WGQA_TEST(halvesWidenExactly) {
  for (const Format& format : kFormats) {
    for (int bits = 0; bits < kPatterns; ++bits) {
      const float actual = format.widen(static_cast<std::uint16_t>(bits));
      const double expected = decode(bits, format.exponentBits, format.mantissaBits);
      if (std::isnan(expected) ? std::isnan(actual)
                               : sameFloat(actual, static_cast<float>(expected))) {
        continue;
      }
      fail(std::string(format.name) + " pattern " + describe(bits) + ": got " + describe(actual) +
           ", expected " + describe(expected));
    }
  }
}

WGQA_TEST(halvesComeBackFromFloat) {
  for (const Format& format : kFormats) {
    for (int bits = 0; bits < kPatterns; ++bits) {
      const auto pattern = static_cast<std::uint16_t>(bits);
      const float value = format.widen(pattern);
      if (std::isnan(value)) {
        CHECK(std::isnan(format.widen(format.round(value))));
      } else {
        checkRounding(format, value, pattern);
      }
    }
  }
}

WGQA_TEST(halvesRoundToNearestEven) {
  for (const Format& format : kFormats) {
    const int infinity = ((1 << format.exponentBits) - 1) << format.mantissaBits;
    for (int bits = 0; bits < infinity; ++bits) {
      checkInterval(format, static_cast<std::uint16_t>(bits));
      checkInterval(format, static_cast<std::uint16_t>(bits | 0x8000));
    }
    checkRounding(format, std::numeric_limits<float>::max(), static_cast<std::uint16_t>(infinity));
  }
}

WGQA_TEST(roundingKeepsNaN) {
  // Payloads in the low bits only: truncation would make infinities of them.
  for (const std::uint32_t bits : {0x7f800001u, 0xff800001u, 0x7fc00000u, 0x7fffffffu}) {
    for (const Format& format : kFormats) {
      CHECK(std::isnan(format.widen(format.round(std::bit_cast<float>(bits)))));
    }
  }
}

WGQA_TEST(dtypeNamesRoundTrip) {
  for (const DType dtype : {DType::float32, DType::float16, DType::bfloat16, DType::int32}) {
    CHECK(dtypeFromName(dtypeName(dtype), "dtype") == dtype);
  }
  CHECK_EQUAL(bytesOf(DType::float32), 4);
  CHECK_EQUAL(bytesOf(DType::bfloat16), 2);
  CHECK_THROWS(ErrorCode::invalidArgument, dtypeFromName("float64", "dtype"));
  CHECK_THROWS(ErrorCode::invalidArgument, dtypeFromName("", "dtype"));
  try {
    dtypeFromName("f32", "options.dtype");
  } catch (const Error& error) {
    CHECK_EQUAL(error.field(), "options.dtype");
    CHECK_EQUAL(error.allowed(), "'float32' | 'float16' | 'bfloat16'");
  }
}

// ---------------------------------------------------------------------------- random numbers

// The file kat_vectors of the Random123 distribution, the lines "philox4x32 10".
WGQA_TEST(philoxKnownAnswers) {
  const PhiloxBlock zeros = philox(0, {0, 0, 0, 0});
  CHECK((zeros == PhiloxBlock{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
  const PhiloxBlock ones =
      philox(~std::uint64_t{0}, {0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu});
  CHECK((ones == PhiloxBlock{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
  const PhiloxBlock pi =
      philox(0x299f31d0a4093822u, {0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u});
  CHECK((pi == PhiloxBlock{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}));
}

WGQA_TEST(randomFieldAddressesWords) {
  const RandomField field{0x0123456789abcdefu, 0xaaaabbbbccccddddu};
  const PhiloxBlock block = philox(field.seed, {5, 9, 0xccccddddu, 0xaaaabbbbu});
  for (std::uint32_t word = 0; word < 4; ++word) CHECK_EQUAL(field.at(9, 20 + word), block[word]);
}

WGQA_TEST(uniformsAreInsideTheOpenInterval) {
  CHECK(uniformFromBits(0) > 0.0f);
  CHECK(uniformFromBits(0xffffffffu) < 1.0f);
  CHECK_EQUAL(uniformFromBits(0x80000000u), 0.5f + 0x1p-24f);
}

// ---------------------------------------------------------------------------- parallel loops

WGQA_TEST(parallelForCoversEachIndexOnce) {
  for (const int threads : {1, 2, 3}) {
    setThreadCount(threads);
    for (const std::int64_t count : {0, 1, 2, 3, 7, 64, 1001}) {
      for (const std::int64_t grain : {0, 1, 5, 2000}) {
        std::vector<std::atomic<int>> visits(count);
        std::atomic<int> largestThread = 0;
        std::atomic<bool> anyEmpty = false;
        parallelFor(count, grain, [&](std::int64_t begin, std::int64_t end, int thread) {
          if (begin >= end) anyEmpty = true;
          for (std::int64_t i = begin; i < end; ++i) ++visits[i];
          if (thread > largestThread) largestThread = thread;
        });
        for (const auto& visit : visits) CHECK_EQUAL(visit.load(), 1);
        CHECK(largestThread < threads);
        CHECK(!anyEmpty);
      }
    }
  }
  setThreadCount(0);
}

WGQA_TEST(parallelTasksRunsEachIndexOnce) {
  for (const int threads : {1, 2, 3}) {
    setThreadCount(threads);
    for (const std::int64_t count : {0, 1, 2, 33}) {
      std::vector<std::atomic<int>> visits(count);
      parallelTasks(count, [&](std::int64_t index, int) { ++visits[index]; });
      for (const auto& visit : visits) CHECK_EQUAL(visit.load(), 1);
    }
  }
  setThreadCount(0);
}

WGQA_TEST(parallelRangesCoverEachIndexOnce) {
  for (const int threads : {1, 2, 3, 5}) {
    setThreadCount(threads);
    for (const std::int64_t count : {0, 1, 2, 3, 7, 64, 1001}) {
      for (const std::int64_t piece : {0, 1, 5, 2000}) {
        std::vector<std::atomic<int>> visits(count);
        std::atomic<bool> anyWrong = false;
        parallelRanges(count, piece, [&](std::int64_t begin, std::int64_t end, int thread) {
          const std::int64_t most = threads == 1 ? count : std::max<std::int64_t>(piece, 1);
          if (begin >= end || end - begin > most || thread >= threads) anyWrong = true;
          for (std::int64_t i = begin; i < end; ++i) ++visits[i];
        });
        for (const auto& visit : visits) CHECK_EQUAL(visit.load(), 1);
        CHECK(!anyWrong);
      }
    }
  }
  setThreadCount(0);
}

// The thread of the first stretch hangs in its first piece until all others are done.
WGQA_TEST(parallelRangesAreTakenOverFromASlowThread) {
  constexpr std::int64_t kCount = 100;
  setThreadCount(2);
  std::atomic<std::int64_t> done = 0;
  parallelRanges(kCount, 1, [&](std::int64_t begin, std::int64_t, int) {
    if (begin == 0) {
      while (done < kCount - 1) std::this_thread::yield();
    }
    ++done;
  });
  setThreadCount(0);
  CHECK_EQUAL(done.load(), kCount);
}

WGQA_TEST(parallelLoopsRethrow) {
  for (const int threads : {1, 2}) {
    setThreadCount(threads);
    const auto throwAt = [](std::int64_t bad) {
      return [bad](std::int64_t begin, std::int64_t end, int) {
        if (begin <= bad && bad < end) throw Error(ErrorCode::aborted, "stopped");
      };
    };
    CHECK_THROWS(ErrorCode::aborted, parallelFor(100, 1, throwAt(0)));
    CHECK_THROWS(ErrorCode::aborted, parallelFor(100, 1, throwAt(99)));
    CHECK_THROWS(ErrorCode::aborted, parallelTasks(100, [](std::int64_t index, int) {
                   if (index == 57) throw Error(ErrorCode::aborted, "stopped");
                 }));
    CHECK_THROWS(ErrorCode::aborted, parallelRanges(100, 3, throwAt(57)));
    // The team is usable after an exception.
    std::atomic<int> calls = 0;
    parallelTasks(10, [&](std::int64_t, int) { ++calls; });
    CHECK_EQUAL(calls.load(), 10);
  }
  setThreadCount(0);
}

WGQA_TEST(threadCountIsSetAndRestored) {
  setThreadCount(3);
  CHECK_EQUAL(threadCount(), 3);
  setThreadCount(-1);
  const int standard = threadCount();
  CHECK(standard >= 1);
  setThreadCount(0);
  CHECK_EQUAL(threadCount(), standard);
}

// ---------------------------------------------------------------------------- memory and files

WGQA_TEST(bufferGrowsOnlyWhenAsked) {
  Buffer buffer;
  CHECK_EQUAL(buffer.bytes(), 0);
  CHECK(buffer.as<char>() == nullptr);
  buffer.reserve(100);
  char* const data = buffer.as<char>();
  CHECK_EQUAL(reinterpret_cast<std::uintptr_t>(data) % kBufferAlignmentBytes, 0);
  data[99] = 'x';
  buffer.reserve(50);
  CHECK(buffer.as<char>() == data);
  CHECK_EQUAL(buffer.bytes(), 100);
  Buffer moved = std::move(buffer);
  CHECK(moved.as<char>() == data);
  CHECK_EQUAL(moved.as<char>()[99], 'x');
  CHECK_EQUAL(buffer.bytes(), 0);
  moved.clear();
  CHECK_EQUAL(moved.bytes(), 0);
  moved.clear();
}

WGQA_TEST(bufferReportsExhaustedMemory) {
  const std::size_t tooMuch = std::numeric_limits<std::size_t>::max() / 4;
  CHECK_THROWS(ErrorCode::outOfMemory, Buffer buffer(tooMuch));
  Buffer buffer(64);
  CHECK_THROWS(ErrorCode::outOfMemory, buffer.reserve(tooMuch));
  buffer.reserve(64);
  CHECK(buffer.as<char>() != nullptr);
}

WGQA_TEST(mappedFileShowsTheContents) {
  const TemporaryFile file("contents");
  const MappedFile mapped(file.path());
  CHECK_EQUAL(mapped.bytes(), 8);
  CHECK(std::memcmp(mapped.data(), "contents", 8) == 0);
  const TemporaryFile nothing("");
  CHECK_EQUAL(MappedFile(nothing.path()).bytes(), 0);
}

WGQA_TEST(mappedFileNamesWhatItCannotOpen) {
  CHECK_THROWS(ErrorCode::io, MappedFile("/nonexistent/model.safetensors"));
  CHECK_THROWS(ErrorCode::io, MappedFile("/"));
  CHECK_THROWS(ErrorCode::io, MappedFile(""));
  try {
    MappedFile("/nonexistent/model.safetensors");
  } catch (const Error& error) {
    CHECK_EQUAL(error.field(), "/nonexistent/model.safetensors");
    CHECK(std::string_view(error.what()).find("No such file") != std::string_view::npos);
  }
}

WGQA_TEST(errorsNameFieldAndAllowedValues) {
  const Error error = invalidArgument("kvHeads", "a divisor of 12", "5");
  CHECK_EQUAL(std::string_view(error.what()), "kvHeads must be a divisor of 12, not 5");
  CHECK_EQUAL(error.field(), "kvHeads");
  CHECK_EQUAL(error.allowed(), "a divisor of 12");
  CHECK_EQUAL(std::string_view(errorCodeName(error.code())), "INVALID_ARGUMENT");
  CHECK_THROWS(ErrorCode::internal, require(false, "broken"));
  require(true, "holds");
}

}  // namespace wgqa::test
