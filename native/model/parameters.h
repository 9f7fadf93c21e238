// Named tensors of a model. Storage is shared between models and copied on the first write, so that
// converting a model copies only what the conversion changes, and loading copies nothing.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/buffer.h"
#include "base/mapped_file.h"
#include "ops/tensor_view.h"

namespace wgqa {

class Parameter {
 public:
  Parameter() = default;
  /// Borrows `data`, kept alive by `owner`; it is never written.
  Parameter(std::string name, std::vector<std::int64_t> shape, DType dtype,
            std::shared_ptr<const void> owner, const void* data);
  /// Borrows `data` of a file.
  Parameter(std::string name, std::vector<std::int64_t> shape, DType dtype,
            std::shared_ptr<const MappedFile> file, const void* data);
  /// Owns uninitialised float32 memory.
  Parameter(std::string name, std::vector<std::int64_t> shape);

  const std::string& name() const { return name_; }
  const std::vector<std::int64_t>& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  std::int64_t elements() const;
  /// Bytes held by this model alone or shared with another, not counting mapped files.
  std::int64_t ownedBytes() const;
  ConstTensorView view() const;
  /// float32 memory with the current values that this parameter alone uses: makes a copy if the
  /// storage is shared, mapped or of another type.
  TensorView makeWritable();
  /// makeWritable() would make no copy.
  bool isWritable() const { return writable_ && owner_.use_count() == 1; }
  /// The values in float32: where they lie if they are that already, else in `widened`.
  ConstTensorView asFloat32(Buffer& widened) const;
  /// The values are not needed for a while: if they lie in a file, they need not stay in memory.
  void releasePages() const;
  /// Row-major float32 copy of the values into `out` of elements() floats.
  void copyTo(float* out) const;

 private:
  std::string name_;
  std::vector<std::int64_t> shape_;
  DType dtype_ = DType::float32;
  std::shared_ptr<const void> owner_;
  const void* data_ = nullptr;
  const MappedFile* file_ = nullptr;  // the owner, if it is one
  bool writable_ = false;  // the storage is float32 memory made by makeWritable or the constructor
};

class ParameterSet {
 public:
  /// Names are unique.
  Parameter& add(Parameter parameter);
  /// nullptr when there is none.
  Parameter* find(std::string_view name);
  const Parameter* find(std::string_view name) const;
  /// Throws ErrorCode::invalidArgument (field "name").
  Parameter& at(std::string_view name);
  const Parameter& at(std::string_view name) const;

  std::vector<std::unique_ptr<Parameter>>& all() { return parameters_; }
  const std::vector<std::unique_ptr<Parameter>>& all() const { return parameters_; }

 private:
  std::vector<std::unique_ptr<Parameter>> parameters_;  // pointers stay valid as the set grows
  std::unordered_map<std::string, Parameter*> byName_;
};

}  // namespace wgqa
