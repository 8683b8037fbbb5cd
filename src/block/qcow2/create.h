// Creating qcow2 images.
#pragma once

#include <cstdint>
#include <string>

#include "block/context.h"
#include "block/crypto/luks.h"
#include "block/node.h"
#include "block/qcow2/header.h"

namespace doppel::block::qcow2 {

struct CreateOptions {
  std::uint64_t size = 0;
  unsigned version = 3;
  std::uint64_t cluster_size = 65536;
  unsigned refcount_bits = 16;
  bool lazy_refcounts = false;
  bool extended_l2 = false;
  Compression compression = Compression::kZlib;
  Preallocation preallocation = Preallocation::kOff;
  std::string backing_file{};
  std::string backing_format{};
  std::string data_file{};  // its name; the file itself is made by the caller
  bool data_file_raw = false;
  std::optional<LuksOptions> luks{};  // encrypted, with PASSWORD
  SecretBytes password{};
};

/// The sentence that tells what does not fit together, if anything.
Result<> check_options(const CreateOptions& options);

/// Writes an empty image into FILE, whose old contents are lost. Preallocation is for who opens it afterwards.
Task<Result<>> create(Node& file, const CreateOptions& options);

}  // namespace doppel::block::qcow2
