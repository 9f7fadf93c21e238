#include "addon/exchange_paths.h"

#include <cerrno>
#include <string>
#include <utility>

#if defined(__linux__)
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <stdio.h>
#endif

namespace wgqa {
namespace {

// 0, or an error's number. Through syscall: glibc has the function since 2.28, musl since 1.2.5.
int exchange([[maybe_unused]] const char* first, [[maybe_unused]] const char* second) {
#if defined(__linux__) && defined(SYS_renameat2)
  constexpr unsigned kRenameExchange = 1U << 1U;
  return syscall(SYS_renameat2, AT_FDCWD, first, AT_FDCWD, second, kRenameExchange) == 0 ? 0
                                                                                         : errno;
#elif defined(__APPLE__)
  return renamex_np(first, second, RENAME_SWAP) == 0 ? 0 : errno;
#else
  return ENOSYS;
#endif
}

// On a thread of Node's pool: a busy disk delays no one else.
class ExchangeWorker : public Napi::AsyncWorker {
 public:
  ExchangeWorker(Napi::Env env, std::string first, std::string second)
      : AsyncWorker(env), deferred_(env), first_(std::move(first)), second_(std::move(second)) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override { result_ = exchange(first_.c_str(), second_.c_str()); }
  void OnOK() override { deferred_.Resolve(Napi::Number::New(Env(), result_)); }

 private:
  Napi::Promise::Deferred deferred_;
  std::string first_;
  std::string second_;
  int result_ = 0;
};

}  // namespace

Napi::Value exchangePaths(const Napi::CallbackInfo& info) {
  // Deletes itself when it is done.
  auto* worker = new ExchangeWorker(info.Env(), info[0].ToString().Utf8Value(),
                                    info[1].ToString().Utf8Value());
  worker->Queue();
  return worker->promise();
}

}  // namespace wgqa
