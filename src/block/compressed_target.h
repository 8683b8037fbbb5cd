// Images that take compressed clusters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "block/io_view.h"
#include "block/task.h"

namespace doppel::block {

class CompressedTarget {
 public:
  /// A cluster's bytes as the image stores them; none if they do not get fewer.
  using Packed = std::optional<std::vector<std::byte>>;

  virtual ~CompressedTarget() = default;
  /// By a worker, of which several may be at it at once. FROM: a whole cluster, or what the last one has of it.
  virtual Task<Result<Packed>> pack(IoView from) = 0;
  /// PACKED, which came from FROM. Nothing may be allocated at OFFSET.
  virtual Task<Result<>> write_packed(std::uint64_t offset, IoView from, Packed packed) = 0;
  /// Both.
  Task<Result<>> write_compressed(std::uint64_t offset, IoView from) {
    DOPPEL_CO_ASSIGN(Packed packed, co_await pack(from));
    co_return co_await write_packed(offset, from, std::move(packed));
  }
  /// True: this image takes nothing else.
  [[nodiscard]] virtual bool compressed_only() const { return false; }
};

}  // namespace doppel::block
