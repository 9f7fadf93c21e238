#include "model/t5_teacher.h"

#include <string>

namespace wgqa {

T5Teacher::T5Teacher(T5Model& teacher, T5Model& student)
    : model_(teacher),
      ops_(teacher.ops().makeAnother()),
      layers_(teacher.config(), teacher.computeDtype(), ops_) {
  const auto require = [](bool holds, const std::string& allowed, const std::string& given) {
    if (!holds) throw invalidArgument("distillation.teacher", allowed, given);
  };
  const std::int64_t vocab = student.config().vocabSize;
  require(&teacher != &student, "another model than the one that is trained", "the same");
  require(teacher.config().vocabSize == vocab,
          "a model with a vocabulary of " + std::to_string(vocab),
          std::to_string(teacher.config().vocabSize));
  require(ops_->name() == student.ops().name(),
          "a model on '" + std::string(student.ops().name()) + "'", std::string(ops_->name()));
}

// Also starts a pass: what the last one kept is forgotten.
TensorView T5Teacher::newEncoderStates(std::int64_t tokens) {
  layers_.arena().reset();
  return layers_.arena().floats({tokens, layers_.config().dModel});
}

T5Teacher::Pass::Pass(T5Teacher& teacher, const TeacherForcedBatch& batch, const AbortFlag* abort)
    : layers_(teacher.layers_),
      pass_(teacher.model_, layers_, batch, teacher.newEncoderStates(batch.encoder.tokens()),
            abort),
      states_(layers_.arena().mark()) {}

ConstTensorView T5Teacher::Pass::logits(std::int64_t begin, std::int64_t count) {
  layers_.arena().rewind(states_);
  const TensorView logits = layers_.arena().floats({count, layers_.config().vocabSize});
  pass_.logits(begin, logits);
  layers_.ops().finish();
  return logits;
}

}  // namespace wgqa
