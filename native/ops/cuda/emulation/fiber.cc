#include "ops/cuda/emulation/fiber.h"

#include <setjmp.h>
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

void* mapStack() {
  void* stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) throw Error(ErrorCode::outOfMemory, "no memory for a fiber's stack");
  return stack;
}

}  // namespace

// A switch is setjmp here and longjmp there: swapcontext asks the kernel for the signal mask each
// time. The address sanitizer is told of every switch.
struct Fiber::State {
  void* stack = mapStack();
  ucontext_t entry{};
  ucontext_t unused{};
  jmp_buf inside;
  jmp_buf outside;
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
    if (_setjmp(inside) == 0) _longjmp(outside, 1);
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
  if (_setjmp(state.outside) == 0) {
    if (state.started) _longjmp(state.inside, 1);
    state.started = true;
    getcontext(&state.entry);
    state.entry.uc_stack.ss_sp = state.stack;
    state.entry.uc_stack.ss_size = kStackBytes;
    state.entry.uc_link = nullptr;
    const auto address = reinterpret_cast<std::uintptr_t>(&state);
    makecontext(&state.entry, reinterpret_cast<void (*)()>(&State::start), 2,
                static_cast<unsigned>(address), static_cast<unsigned>(address >> 32));
    swapcontext(&state.unused, &state.entry);
  }
  state.afterLeaving();
}

void Fiber::leave() { state_->leave(); }

}  // namespace wgqa::cuda::emulation
