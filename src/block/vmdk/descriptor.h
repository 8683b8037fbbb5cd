// VMDK's descriptor: the text that says what a disk is made of.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace doppel::block::vmdk {

inline constexpr std::uint32_t kNoParent = 0xffffffff;
inline constexpr std::size_t kMaxDescriptorBytes = 1 << 20;

enum class Access : std::uint8_t { kReadWrite, kReadOnly };
enum class ExtentKind : std::uint8_t { kFlat, kSparse, kZero };

struct ExtentLine {
  Access access = Access::kReadWrite;
  std::uint64_t sectors = 0;
  ExtentKind kind = ExtentKind::kFlat;
  std::string type{};        // as it is written: FLAT, VMFS, SPARSE, ZERO
  std::string filename{};    // not of kZero
  std::uint64_t offset = 0;  // of kFlat, in the file, in sectors
};

struct Descriptor {
  std::uint32_t cid = kNoParent;  // changes whenever the disk does
  std::uint32_t parent_cid = kNoParent;
  std::string create_type = "monolithicSparse";
  std::string parent{};  // parentFileNameHint
  std::vector<ExtentLine> extents{};
  std::optional<std::size_t> cid_place{};  // where in the text its digits begin
};

/// TEXT up to its first zero byte. What it does not know is skipped, as QEMU does; an extent that cannot be used is an
/// error.
Result<Descriptor> parse_descriptor(std::string_view text);

/// Eight digits.
std::string format_cid(std::uint32_t cid);

}  // namespace doppel::block::vmdk
