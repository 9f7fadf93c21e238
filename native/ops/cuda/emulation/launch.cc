#include "ops/cuda/emulation/launch.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "ops/cuda/emulation/execution.h"
#include "ops/cuda/emulation/fiber.h"
#include "ops/cuda/emulation/products.h"

namespace wgqa::cuda::emulation {
namespace {

constexpr int kWarpThreads = 32;
constexpr int kWarpgroupThreads = 128;
constexpr std::size_t kSharedAlignment = 1024;

struct PendingCopy {
  void* to;
  const void* from;  // null: zeros
  int bytes;
};

enum class Waiting : std::uint8_t { no, forWarp, forWarpgroup, forBlock, forCondition };

struct Thread {
  ThreadState state;
  Fiber fiber;
  Waiting waiting = Waiting::no;
  int exchanges = 0;  // that this lane took part in
  std::deque<std::vector<PendingCopy>> groups;
  std::vector<PendingCopy> uncommitted;
  std::function<bool()> condition;  // that it waits for
  ProductQueue products;
};

struct Warp {
  unsigned char slots[2][kWarpThreads * kSlotBytes];
  float product[16][8];  // of the warp's last multiplication
  int multiplied = 0;    // lanes that have it
};

struct FreeAligned {
  void operator()(unsigned char* data) const {
    ::operator delete(data, std::align_val_t{kSharedAlignment});
  }
};

// The block that runs on this thread of the program, and the fibers that every block uses again.
class BlockRunner {
 public:
  void run(const KernelEntry& kernel, const Launch& launch);

  Thread& running() { return *running_; }
  void wait(Waiting what) {
    running_->waiting = what;
    running_->fiber.leave();
  }
  void waitUntil(std::function<bool()> isReady) {
    if (isReady()) return;
    running_->condition = std::move(isReady);
    wait(Waiting::forCondition);
  }
  void deliver(std::function<void()> delivery) {
    if (!isLate_) return delivery();
    deliveries_.push_back(std::move(delivery));
  }
  const unsigned char* show(const void* value, int bytes);
  void multiply(const Fragments& own, float (&product)[4]);

 private:
  void prepare(const Launch& launch);
  void start(const KernelEntry& kernel, const Launch& launch, const int (&block)[3]);
  void runBlock();
  void checkEnd();
  bool runReady(int index);
  void abandon();
  bool releaseWaiting();
  bool releaseIfAll(Waiting what, int begin, int end);
  bool releaseGroups(Waiting what, int threads);
  bool releaseReady();
  bool deliverLatest();

  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<Warp> warps_;
  std::unique_ptr<unsigned char[], FreeAligned> shared_;
  int count_ = 0;
  std::int64_t blocksRun_ = 0;
  bool isAscending_ = false;
  bool isLate_ = false;
  std::vector<std::function<void()>> deliveries_;
  Thread* running_ = nullptr;
  std::string failure_;
};

void BlockRunner::prepare(const Launch& launch) {
  count_ = launch.threads;
  if (count_ % kWarpThreads != 0 || count_ <= 0 || count_ > 1024) {
    throw Error(ErrorCode::internal, "a block has " + std::to_string(count_) + " threads");
  }
  while (static_cast<int>(threads_.size()) < count_) threads_.push_back(std::make_unique<Thread>());
  warps_.resize(static_cast<std::size_t>(count_ / kWarpThreads));
  // As large as asked for, so that the address sanitizer sees what reaches beyond.
  const auto bytes = static_cast<std::size_t>(std::max(launch.sharedBytes, 1));
  shared_.reset(
      static_cast<unsigned char*>(::operator new(bytes, std::align_val_t{kSharedAlignment})));
}

void BlockRunner::run(const KernelEntry& kernel, const Launch& launch) {
  if (launch.argumentBytes != kernel.argumentBytes) {
    throw Error(ErrorCode::internal, std::string(kernel.name) + ": arguments of another size");
  }
  prepare(launch);
  int block[3];
  for (block[2] = 0; block[2] < launch.grid[2]; ++block[2]) {
    for (block[1] = 0; block[1] < launch.grid[1]; ++block[1]) {
      for (block[0] = 0; block[0] < launch.grid[0]; ++block[0]) {
        start(kernel, launch, block);
        runBlock();
        if (!failure_.empty()) {
          throw Error(ErrorCode::internal, std::string(kernel.name) + ": " + failure_);
        }
      }
    }
  }
}

void BlockRunner::start(const KernelEntry& kernel, const Launch& launch, const int (&block)[3]) {
  failure_.clear();
  deliveries_.clear();
  isAscending_ = ++blocksRun_ % 2 == 0;
  isLate_ = blocksRun_ / 2 % 2 == 0;  // with either order
  for (Warp& warp : warps_) warp.multiplied = 0;
  std::memset(shared_.get(), 0xff, static_cast<std::size_t>(launch.sharedBytes));
  for (int i = 0; i < count_; ++i) {
    Thread& thread = *threads_[static_cast<std::size_t>(i)];
    thread.state.index = i;
    thread.state.blockThreads = count_;
    std::copy(block, block + 3, thread.state.block);
    std::copy(launch.grid, launch.grid + 3, thread.state.grid);
    thread.state.shared = shared_.get();
    thread.waiting = Waiting::no;
    thread.exchanges = 0;
    thread.groups.clear();
    thread.uncommitted.clear();
    thread.products.clear();
    thread.fiber.begin([this, call = kernel.call, arguments = launch.arguments] {
      try {
        call(arguments);
      } catch (const std::exception& error) {
        if (failure_.empty()) failure_ = error.what();
      }
    });
  }
}

bool BlockRunner::runReady(int index) {
  Thread& thread = *threads_[static_cast<std::size_t>(index)];
  if (thread.fiber.isDone() || thread.waiting != Waiting::no) return false;
  running_ = &thread;
  thread.fiber.enter();
  running_ = nullptr;
  return true;
}

// Lets go on those that all wait for the same thing.
bool BlockRunner::releaseIfAll(Waiting what, int begin, int end) {
  for (int i = begin; i < end; ++i) {
    const Thread& thread = *threads_[static_cast<std::size_t>(i)];
    if (thread.fiber.isDone() || thread.waiting != what) return false;
  }
  for (int i = begin; i < end; ++i) threads_[static_cast<std::size_t>(i)]->waiting = Waiting::no;
  return true;
}

bool BlockRunner::releaseGroups(Waiting what, int threads) {
  bool released = false;
  for (int begin = 0; begin + threads <= count_; begin += threads) {
    released |= releaseIfAll(what, begin, begin + threads);
  }
  return released;
}

bool BlockRunner::releaseReady() {
  bool released = false;
  for (int i = 0; i < count_; ++i) {
    Thread& thread = *threads_[static_cast<std::size_t>(i)];
    if (thread.waiting != Waiting::forCondition || !thread.condition()) continue;
    thread.waiting = Waiting::no;
    released = true;
  }
  return released;
}

bool BlockRunner::deliverLatest() {
  if (deliveries_.empty()) return false;
  const auto delivery = std::move(deliveries_.back());
  deliveries_.pop_back();
  delivery();
  return true;
}

bool BlockRunner::releaseWaiting() {
  const bool block = releaseGroups(Waiting::forBlock, count_);
  const bool warpgroups = releaseGroups(Waiting::forWarpgroup, kWarpgroupThreads);
  const bool warps = releaseGroups(Waiting::forWarp, kWarpThreads);
  return block || warpgroups || warps || releaseReady() || deliverLatest();
}

void BlockRunner::runBlock() {
  const auto isDone = [](const std::unique_ptr<Thread>& t) { return t->fiber.isDone(); };
  do {
    bool ran = false;
    for (int i = 0; i < count_; ++i) ran |= runReady(isAscending_ ? i : count_ - 1 - i);
    if (!ran && !releaseWaiting()) {
      if (failure_.empty()) failure_ = "threads wait for others that never come";
      abandon();
      return;
    }
  } while (!std::all_of(threads_.begin(), threads_.begin() + count_, isDone));
  checkEnd();
}

// A GPU gives the block's memory to another one: what comes later would land there.
void BlockRunner::checkEnd() {
  if (!failure_.empty()) return;
  if (!deliveries_.empty()) failure_ = "copies are under way at the block's end";
  const bool multiplied =
      std::all_of(threads_.begin(), threads_.begin() + count_,
                  [](const std::unique_ptr<Thread>& t) { return t->products.isEmpty(); });
  if (!multiplied) failure_ = "products are under way at the block's end";
}

// Stacks of unfinished threads cannot be unwound: they are kept, and new ones take their place.
void BlockRunner::abandon() {
  static std::vector<std::unique_ptr<Thread>>& kept = *new std::vector<std::unique_ptr<Thread>>;
  for (auto& thread : threads_) kept.push_back(std::move(thread));
  threads_.clear();
}

const unsigned char* BlockRunner::show(const void* value, int bytes) {
  Thread& thread = *running_;
  Warp& warp = warps_[static_cast<std::size_t>(thread.state.index / kWarpThreads)];
  unsigned char* slots = warp.slots[thread.exchanges++ % 2];
  if (bytes > 0) {
    std::memcpy(slots + thread.state.index % kWarpThreads * kSlotBytes, value,
                static_cast<std::size_t>(bytes));
  }
  wait(Waiting::forWarp);
  return slots;
}

// Where mma.m16n8k16 keeps a[row, k] and b[k, column] (PTX ISA, "Matrix fragments for
// mma.m16n8k16").
void multiplyShown(const unsigned char* shown, float (&product)[16][8]) {
  float a[16][16];
  float b[16][8];
  for (int lane = 0; lane < kWarpThreads; ++lane) {
    const auto own = laneValue<Fragments>(shown, lane);
    for (int i = 0; i < 8; ++i) {
      const auto bits = static_cast<std::uint16_t>(own.a[i / 2] >> (16 * (i % 2)));
      a[lane / 4 + 8 * (i / 2 % 2)][2 * (lane % 4) + i % 2 + 8 * (i / 4)] = own.widen(bits);
    }
    for (int i = 0; i < 4; ++i) {
      const auto bits = static_cast<std::uint16_t>(own.b[i / 2] >> (16 * (i % 2)));
      b[2 * (lane % 4) + i % 2 + 8 * (i / 2)][lane / 4] = own.widen(bits);
    }
  }
  for (int row = 0; row < 16; ++row) {
    float sums[8] = {};
    for (int k = 0; k < 16; ++k) {
      for (int column = 0; column < 8; ++column) sums[column] += a[row][k] * b[k][column];
    }
    std::copy(sums, sums + 8, product[row]);
  }
}

// The first lane to go on multiplies for all of them.
void BlockRunner::multiply(const Fragments& own, float (&product)[4]) {
  const unsigned char* shown = show(&own, sizeof(own));
  const int thread = running_->state.index;
  Warp& warp = warps_[static_cast<std::size_t>(thread / kWarpThreads)];
  if (warp.multiplied == 0) multiplyShown(shown, warp.product);
  warp.multiplied = (warp.multiplied + 1) % kWarpThreads;
  const int lane = thread % kWarpThreads;
  for (int i = 0; i < 4; ++i) {
    product[i] = warp.product[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2];
  }
}

BlockRunner& runner() {
  thread_local BlockRunner instance;
  return instance;
}

// The fiber's own lookup of a thread-local would be hoisted over switches; fibers stay on a thread.
thread_local BlockRunner* current = nullptr;

void arrive(const PendingCopy& copy) {
  const auto bytes = static_cast<std::size_t>(copy.bytes);
  if (copy.from == nullptr) {
    std::memset(copy.to, 0, bytes);
  } else {
    std::memcpy(copy.to, copy.from, bytes);
  }
}

}  // namespace

const ThreadState& self() { return current->running().state; }

void waitForBlock() { current->wait(Waiting::forBlock); }

void waitForWarpgroup() { current->wait(Waiting::forWarpgroup); }

void waitUntil(std::function<bool()> isReady) { current->waitUntil(std::move(isReady)); }

void deliverLater(std::function<void()> delivery) { current->deliver(std::move(delivery)); }

ProductQueue& productsOfThread() { return current->running().products; }

const unsigned char* showToWarp(const void* value, int bytes) {
  return current->show(value, bytes);
}

void multiplyFragments(const Fragments& own, float (&product)[4]) {
  current->multiply(own, product);
}

void requireAligned(const void* address, std::size_t bytes) {
  require(reinterpret_cast<std::uintptr_t>(address) % bytes == 0, "an access is not aligned");
}

void copyLater(void* to, const void* from, int bytes) {
  requireAligned(to, static_cast<std::size_t>(bytes));
  if (from != nullptr) requireAligned(from, static_cast<std::size_t>(bytes));
  current->running().uncommitted.push_back({to, from, bytes});
}

void commitCopies() {
  Thread& thread = current->running();
  thread.groups.push_back(std::move(thread.uncommitted));
  thread.uncommitted.clear();
}

void waitForCopies(int left) {
  Thread& thread = current->running();
  while (static_cast<int>(thread.groups.size()) > left) {
    for (const PendingCopy& copy : thread.groups.front()) arrive(copy);
    thread.groups.pop_front();
  }
}

void run(const KernelEntry& kernel, const Launch& launch) {
  current = &runner();
  current->run(kernel, launch);
}

}  // namespace wgqa::cuda::emulation
