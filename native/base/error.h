// The one exception type of the native code. The addon turns it into a WgqaError of the same code.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace wgqa {

/// Mirrors ERROR_CODES of src/errors.ts; errorCodeName() gives the shared spelling.
enum class ErrorCode {
  invalidArgument,
  invalidFile,
  unsupported,
  io,
  outOfMemory,
  alreadyConverted,
  nonFinite,
  aborted,
  timeout,
  overloaded,
  disposed,
  internal,
};

const char* errorCodeName(ErrorCode code);

class Error : public std::runtime_error {
 public:
  /// `field` is the dotted name of the offending option or tensor, `allowed` its permitted values.
  Error(ErrorCode code, std::string message, std::string field = {}, std::string allowed = {})
      : std::runtime_error(std::move(message)),
        code_(code),
        field_(std::move(field)),
        allowed_(std::move(allowed)) {}

  ErrorCode code() const { return code_; }
  const std::string& field() const { return field_; }
  const std::string& allowed() const { return allowed_; }

 private:
  ErrorCode code_;
  std::string field_;
  std::string allowed_;
};

/// "<field> must be <allowed>, not <actual>".
Error invalidArgument(const std::string& field, const std::string& allowed,
                      const std::string& actual);

/// The Error of the exception being handled; anything unknown becomes ErrorCode::internal.
Error currentError();

/// Throws ErrorCode::internal when a condition that only a bug in this package can break is false.
inline void require(bool condition, const char* message) {
  if (!condition) throw Error(ErrorCode::internal, message);
}

}  // namespace wgqa
