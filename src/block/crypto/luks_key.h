// The slots of a LUKS header: each has the master key, spread and encrypted with a password. The header begins at
// OFFSET of FILE throughout. Within block/crypto.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "block/crypto/luks.h"

namespace doppel::block {

/// How many bytes a slot's place takes.
std::uint64_t material_bytes(const LuksHeader& header);
/// Whether slot INDEX lies where one may.
Result<> check_place(const LuksHeader& header, std::size_t index);
/// Neither so few that a guess costs nothing nor so many that they keep the host at work for hours.
std::uint32_t bounded_iterations(std::uint64_t iterations);

Task<Result<>> write_header(Node& file, std::uint64_t offset, const LuksHeader& header);

/// By which HEADER knows its master KEY.
Result<std::array<std::byte, 20>> digest_of(const LuksHeader& header, std::span<const std::byte> key);

/// By a password of any slot; kPermissionDenied if it is in none.
Task<Result<std::vector<std::byte>>> master_key(Node& file, std::uint64_t offset, const LuksHeader& header,
                                                const SecretBytes& password);
/// The master key; nothing, if PASSWORD is not SLOT's.
Task<Result<std::optional<std::vector<std::byte>>>> key_in_slot(Node& file, std::uint64_t offset,
                                                                const LuksHeader& header, const LuksSlot& slot,
                                                                const SecretBytes& password);

/// Makes slot INDEX one that PASSWORD gives KEY from, in FILE and in HEADER, which is not written.
Task<Result<>> write_slot(Node& file, std::uint64_t offset, LuksHeader& header, std::size_t index,
                          std::span<const std::byte> key, const SecretBytes& password, std::uint32_t iterations);

/// Overwrites what is in the place of slot INDEX, durably.
Task<Result<>> wipe_slot(Node& file, std::uint64_t offset, const LuksHeader& header, std::size_t index);

}  // namespace doppel::block
