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
#include "ops/ops.h"

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
  /// Owns uninitialised float32 memory of the host: fill hostFloats().
  Parameter(std::string name, std::vector<std::int64_t> shape);

  const std::string& name() const { return name_; }
  const std::vector<std::int64_t>& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  std::int64_t elements() const;
  /// Bytes held by this model alone or shared with another, not counting mapped files.
  std::int64_t ownedBytes() const;
  /// The values of a parameter that was just made, on the host.
  float* hostFloats();
  /// The values where they lie: on the host, or where makeWritable() put them.
  ConstTensorView view() const;
  /// The values in the memory of `ops`: where they lie if that is there, else in `copy`.
  ConstTensorView in(Ops& ops, Buffer& copy) const;
  /// The same in float32.
  ConstTensorView asFloat32(Ops& ops, Buffer& copy) const;
  /// float32 memory of `ops` with the current values that this parameter alone uses: makes a copy
  /// if the storage is shared, mapped, elsewhere or of another type.
  TensorView makeWritable(Ops& ops);
  /// makeWritable() would make no copy.
  bool isWritable(Ops& ops) const {
    return writable_ && owner_.use_count() == 1 && memory_ == &ops.memory();
  }
  /// asFloat32() would make no copy.
  bool isFloat32In(Ops& ops) const { return dtype_ == DType::float32 && memory_ == &ops.memory(); }
  /// The values are not needed for a while: if they lie in a file, they need not stay in memory.
  void releasePages() const;
  /// Row-major copy of the values in `dtype` into host memory of elements() numbers.
  void copyTo(Ops& ops, DType dtype, void* out) const;

 private:
  std::string name_;
  std::vector<std::int64_t> shape_;
  DType dtype_ = DType::float32;
  std::shared_ptr<const void> owner_;
  Memory* memory_ = &hostMemory();  // that data_ lies in
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
