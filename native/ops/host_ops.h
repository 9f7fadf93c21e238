// What backends on host memory have in common.
#pragma once

#include "ops/ops.h"

namespace wgqa {

/// Operations are done when they return, on memory that the host sees.
class HostOps : public Ops {
 public:
  Memory& memory() override { return hostMemory(); }
  void upload(const void* host, const TensorView& to) override;
  void download(const ConstTensorView& from, void* host) override;
  void copy(const ConstTensorView& from, const TensorView& to) override;
  void zero(const TensorView& view) override;
  void finish() override {}
  void copyBlocks(const CopyBlocks& p) override;
};

/// HostOps::copyBlocks, for whoever has no backend.
void copyHostBlocks(const CopyBlocks& p);

}  // namespace wgqa
