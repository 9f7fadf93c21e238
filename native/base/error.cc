#include "base/error.h"

#include <new>
#include <system_error>

namespace wgqa {

const char* errorCodeName(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalidArgument:
      return "INVALID_ARGUMENT";
    case ErrorCode::invalidFile:
      return "INVALID_FILE";
    case ErrorCode::unsupported:
      return "UNSUPPORTED";
    case ErrorCode::io:
      return "IO";
    case ErrorCode::outOfMemory:
      return "OUT_OF_MEMORY";
    case ErrorCode::alreadyConverted:
      return "ALREADY_CONVERTED";
    case ErrorCode::nonFinite:
      return "NON_FINITE";
    case ErrorCode::aborted:
      return "ABORTED";
    case ErrorCode::timeout:
      return "TIMEOUT";
    case ErrorCode::overloaded:
      return "OVERLOADED";
    case ErrorCode::disposed:
      return "DISPOSED";
    case ErrorCode::internal:
      return "INTERNAL";
  }
  return "INTERNAL";
}

Error invalidArgument(const std::string& field, const std::string& allowed,
                      const std::string& actual) {
  return Error(ErrorCode::invalidArgument, field + " must be " + allowed + ", not " + actual, field,
               allowed);
}

Error currentError() {
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return {ErrorCode::outOfMemory, "out of memory"};
  } catch (const std::system_error& error) {
    // What std::thread throws where the system has no more of them.
    const bool isLimit = error.code() == std::errc::resource_unavailable_try_again;
    if (isLimit) return {ErrorCode::outOfMemory, "the system allows no more threads"};
    return {ErrorCode::internal, error.what()};
  } catch (const std::exception& error) {
    return {ErrorCode::internal, error.what()};
  } catch (...) {
    return {ErrorCode::internal, "unknown native error"};
  }
}

}  // namespace wgqa
