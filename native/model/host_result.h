// A tensor that operations write and whose values are wanted on the host.
#pragma once

#include "base/buffer.h"
#include "ops/ops.h"

namespace wgqa {

/// `host` itself where operations work on host memory, else memory of the backend's own.
class HostResult {
 public:
  /// `host` is dense and outlives this object, as does `ops`.
  HostResult(Ops& ops, const TensorView& host) : ops_(ops), host_(host), view_(host) {
    if (ops.memory().isHost()) return;
    copy_ = Buffer(ops.memory(), static_cast<std::size_t>(host.bytes()));
    view_.data = copy_.as<void>();
  }

  /// What the operations write.
  const TensorView& view() const { return view_; }
  /// Brings what they wrote to the host.
  void deliver() const { ops_.download(view_, host_.data); }

 private:
  Ops& ops_;
  TensorView host_;
  Buffer copy_;
  TensorView view_;
};

}  // namespace wgqa
