// What products through oneDNN share: the library's engine and queue, its errors as ours, its
// number of threads, and its programs, kept for the shapes that come again.
#pragma once

#include <algorithm>
#include <cstddef>
#include <list>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "base/error.h"

namespace wgqa::cpu::onednn {

const dnnl::engine& engine();

/// The calling thread's own.
dnnl::stream& stream();

Error asError(const dnnl::error& error);

/// Post-operations of out = alpha * product + beta * out.
dnnl::primitive_attr scaling(float alpha, float beta);

/// Throws dnnl::error with dnnl_unimplemented where the library has no such product.
dnnl::matmul::primitive_desc describe(const dnnl::memory::desc& a, const dnnl::memory::desc& b,
                                      const dnnl::memory::desc& c,
                                      const dnnl::primitive_attr& attributes = {});

/// Threads for a product of so many multiplications. The library itself would wake all of them for
/// the smallest.
int threadsFor(std::int64_t multiplications);

/// The number of threads that oneDNN sees while it lives: in making a program and in running it.
class LibraryThreads {
 public:
  explicit LibraryThreads(int threads);
  ~LibraryThreads();
  LibraryThreads(const LibraryThreads&) = delete;
  LibraryThreads& operator=(const LibraryThreads&) = delete;

 private:
  int before_;
};

/// A product made for one shape, and its tensors.
struct Program {
  explicit Program(const dnnl::matmul::primitive_desc& description)
      : product(description),
        arguments{{DNNL_ARG_SRC, dnnl::memory(description.src_desc(), engine(), nullptr)},
                  {DNNL_ARG_WEIGHTS, dnnl::memory(description.weights_desc(), engine(), nullptr)},
                  {DNNL_ARG_DST, dnnl::memory(description.dst_desc(), engine(), nullptr)}} {}

  dnnl::matmul product;
  std::unordered_map<int, dnnl::memory> arguments;

  void run(const void* a, const void* b, void* c) {
    // The library reads its sources only.
    arguments.at(DNNL_ARG_SRC).set_data_handle(const_cast<void*>(a));
    arguments.at(DNNL_ARG_WEIGHTS).set_data_handle(const_cast<void*>(b));
    arguments.at(DNNL_ARG_DST).set_data_handle(c);
    product.execute(stream(), arguments);
  }
};

/// Programs by what they are specific to; beyond `capacity`, the least recently used is dropped. A
/// Made program is one that can be made of its description.
template <class Key, class Made = Program>
class ProgramCache {
 public:
  explicit ProgramCache(std::size_t capacity) : capacity_(capacity) {}

  /// The program of `key`; make() gives its description if there is none yet.
  template <class Make>
  Made& find(const Key& key, const Make& make) {
    const auto found = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const Entry& entry) { return entry.key == key; });
    if (found != entries_.end()) {
      entries_.splice(entries_.begin(), entries_, found);
      return entries_.front().program;
    }
    const dnnl::matmul::primitive_desc description = make();
    if (entries_.size() >= capacity_) entries_.pop_back();
    entries_.push_front({key, Made(description)});
    return entries_.front().program;
  }

 private:
  struct Entry {
    Key key;
    Made program;
  };
  std::size_t capacity_;
  std::list<Entry> entries_;  // most recently used first
};

}  // namespace wgqa::cpu::onednn
