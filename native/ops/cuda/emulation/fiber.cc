#include "ops/cuda/emulation/fiber.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdint>
#include <utility>

#include "base/error.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define WGQA_FIBER_ASAN 1
#else
#define WGQA_FIBER_ASAN 0
#endif

namespace wgqa::cuda::emulation {
namespace {

constexpr std::size_t kStackBytes = std::size_t{256} << 10;

// What the compiler's setjmp fills: where code goes on, and on which stack.
using Place = void* [5];

// Not the sanitizer's business, which would clear the stack's shadow before each jump; and apart
// from the setjmp, as the compiler asks for.
__attribute__((noinline, no_sanitize_address)) void goOnAt(Place& place) {
  __builtin_longjmp(place, 1);
}

__attribute__((noinline, no_sanitize_address)) void switchTo(Place& to, Place& from) {
  if (__builtin_setjmp(from) == 0) goOnAt(to);
}

__attribute__((noinline, no_sanitize_address)) void switchToNew(ucontext_t& to, Place& from) {
  ucontext_t unused{};
  if (__builtin_setjmp(from) == 0) swapcontext(&unused, &to);
}

void* mapStack() {
  void* stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) throw Error(ErrorCode::outOfMemory, "no memory for a fiber's stack");
  return stack;
}

}  // namespace

// A switch is a setjmp here and a longjmp there, the compiler's own: swapcontext asks the kernel
// for the signal mask each time, and the library's longjmp has the address sanitizer clear the
// whole stack. The sanitizer is told of every switch instead.
struct Fiber::State {
  void* stack = mapStack();
  Place inside;
  Place outside;
  std::function<void()> task;
  bool started = false;
  bool done = true;
  [[maybe_unused]] void* fakeInside = nullptr;
  [[maybe_unused]] void* fakeOutside = nullptr;
  [[maybe_unused]] const void* outsideStack = nullptr;
  [[maybe_unused]] std::size_t outsideBytes = 0;

  void beforeEntering() {
#if WGQA_FIBER_ASAN
    __sanitizer_start_switch_fiber(&fakeOutside, stack, kStackBytes);
#endif
  }
  void afterEntering() {
#if WGQA_FIBER_ASAN
    __sanitizer_finish_switch_fiber(fakeInside, &outsideStack, &outsideBytes);
#endif
  }
  void beforeLeaving() {
#if WGQA_FIBER_ASAN
    __sanitizer_start_switch_fiber(&fakeInside, outsideStack, outsideBytes);
#endif
  }
  void afterLeaving() {
#if WGQA_FIBER_ASAN
    __sanitizer_finish_switch_fiber(fakeOutside, nullptr, nullptr);
#endif
  }

  void leave() {
    beforeLeaving();
    switchTo(outside, inside);
    afterEntering();
  }

  // The life of the stack: one task after another.
  [[noreturn]] void live() {
    afterEntering();
    while (true) {
      task();
      done = true;
      leave();
    }
  }

  void begin() {
    ucontext_t entry{};
    getcontext(&entry);
    entry.uc_stack.ss_sp = stack;
    entry.uc_stack.ss_size = kStackBytes;
    entry.uc_link = nullptr;
    const auto address = reinterpret_cast<std::uintptr_t>(this);
    makecontext(&entry, reinterpret_cast<void (*)()>(&State::start), 2,
                static_cast<unsigned>(address), static_cast<unsigned>(address >> 32));
    switchToNew(entry, outside);
  }

  static void start(unsigned low, unsigned high) {
    const auto address = std::uintptr_t{low} | std::uintptr_t{high} << 32;
    reinterpret_cast<State*>(address)->live();
  }
};

Fiber::Fiber() : state_(std::make_unique<State>()) {}

Fiber::~Fiber() { munmap(state_->stack, kStackBytes); }

void Fiber::begin(std::function<void()> task) {
  require(state_->done, "a fiber has one task at a time");
  state_->task = std::move(task);
  state_->done = false;
}

bool Fiber::isDone() const { return state_->done; }

void Fiber::enter() {
  State& state = *state_;
  state.beforeEntering();
  if (state.started) {
    switchTo(state.inside, state.outside);
  } else {
    state.started = true;
    state.begin();
  }
  state.afterLeaving();
}

void Fiber::leave() { state_->leave(); }

}  // namespace wgqa::cuda::emulation
