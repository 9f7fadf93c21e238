// Distillation: another model's opinion of each label's place, which a model learns beside the
// label (Hinton et al. 2015, arXiv 1503.02531, Section 2).
#pragma once

#include <memory>

#include "model/t5_teacher_forced.h"

namespace wgqa {

struct DistillationOptions {
  T5Model* teacher = nullptr;  // null: the labels alone are learned
  float weight = 0.5f;         // of the teacher's opinion beside the labels, in [0, 1]
  float temperature = 2.0f;    // > 0: of the softmax of both models' logits
};

/// A model that teaches: used by the student's thread, whatever else it does on others meanwhile.
class T5Teacher {
 public:
  /// Throws ErrorCode::invalidArgument (field "distillation.teacher") for a model that `student`
  /// cannot learn from.
  T5Teacher(T5Model& teacher, T5Model& student);

  /// What it says of one batch, without dropout. One at a time; the teacher's parameters do not
  /// change meanwhile.
  class Pass {
   public:
    /// Throws ErrorCode::aborted between layers once `abort` is set.
    Pass(T5Teacher& teacher, const TeacherForcedBatch& batch, const AbortFlag* abort);
    /// [count, vocab] logits of the decoder's rows from `begin` on: done, so that the student's
    /// backend may read them, until the next call.
    ConstTensorView logits(std::int64_t begin, std::int64_t count);

   private:
    T5Layers& layers_;
    T5TeacherForcedPass pass_;
    Arena::Mark states_;  // behind what the pass keeps
  };

  OpTimes times() const { return ops_->times(); }
  /// Scratch memory that the latest pass used at once.
  std::int64_t peakScratchBytes() const {
    return static_cast<std::int64_t>(layers_.arena().peakBytes());
  }
  std::int64_t scratchBytes() const { return static_cast<std::int64_t>(layers_.arena().bytes()); }

 private:
  TensorView newEncoderStates(std::int64_t tokens);

  T5Model& model_;
  std::shared_ptr<Ops> ops_;
  T5Layers layers_;
};

}  // namespace wgqa
