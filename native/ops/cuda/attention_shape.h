// From the interface's attention shapes to what kernels read: tables on the device, and the tiles
// that the blocks of a grid work on.
#pragma once

#include <vector>

#include "ops/cuda/kernels/attention_shape.h"
#include "ops/cuda/session.h"
#include "ops/ops.h"

namespace wgqa::cuda {

DropoutArguments dropoutArguments(const DropoutSpec& dropout);

/// From this distance on the bias is the same, to either side; `longest` if there are none.
std::int64_t relativeBiasReach(const RelativeBias& bias, std::int64_t longest);

/// `longest`: no distance between a query and a key is larger.
RelativeBiasArguments relativeBiasArguments(const RelativeBias& bias, std::int64_t longest,
                                            Session& session);

AttentionShapeArguments attentionShapeArguments(const AttentionShape& shape, std::int64_t kvHeads,
                                                std::int64_t headDim, Session& session);

/// All sequences cut into tiles of `rows`, those of the longest sequences first: they take longest.
std::vector<SequenceTile> sequenceTiles(const RaggedOffsets& sequences, std::int64_t rows);

}  // namespace wgqa::cuda
