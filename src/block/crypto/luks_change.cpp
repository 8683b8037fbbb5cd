// The passwords of a LUKS header that exists.
#include <algorithm>
#include <ranges>

#include "block/crypto/digest.h"
#include "block/crypto/luks.h"
#include "block/crypto/luks_key.h"

namespace doppel::block {
namespace {

constexpr std::uint64_t kIterationMs = 2000;  // QEMU's default

std::unexpected<Error> wrong(std::string text) {
  return std::unexpected(Error(ErrorKind::kInvalidArgument, std::move(text)));
}

/// What QEMU asks of the options, whatever is in the header.
Result<> check(const LuksChange& change) {
  if (change.slot && *change.slot >= LuksHeader::kSlots)
    return wrong(fmt::format("there is no key slot {}; keyslot= is 0 to {}", *change.slot, LuksHeader::kSlots - 1));
  if (change.activate) {
    if (!change.new_password)
      return wrong("state=active needs new-secret=, the id of the new password's -object secret");
    if (change.old_password) return wrong("old-secret= is for state=inactive alone");
    return {};
  }
  if (change.new_password) return wrong("new-secret= is for state=active alone");
  if (change.iteration_ms) return wrong("iter-time= is for state=active alone");
  if (!change.slot && !change.old_password)
    return wrong("state=inactive needs keyslot=, or old-secret= with the password that is to go");
  return {};
}

Result<std::size_t> slot_to_activate(const LuksHeader& header, const LuksChange& change) {
  if (!change.slot) {
    const auto unused = std::ranges::find(header.slots, false, &LuksSlot::active);
    if (unused != header.slots.end()) return static_cast<std::size_t>(unused - header.slots.begin());
    return wrong("all key slots are in use; deactivate one first");
  }
  if (header.slots[*change.slot].active && !change.force)
    return wrong(fmt::format("key slot {} is in use; deactivate it first", *change.slot));
  return static_cast<std::size_t>(*change.slot);
}

Task<Result<>> activate(Node& file, std::uint64_t offset, LuksHeader& header,
                        const std::optional<SecretBytes>& password, const LuksChange& change) {
  if (!password) co_return wrong("a new password needs one that the image has already; give it by key-secret=");
  DOPPEL_CO_ASSIGN(const std::size_t slot, slot_to_activate(header, change));
  DOPPEL_CO_TRY(check_place(header, slot));
  DOPPEL_CO_ASSIGN(const auto key, co_await master_key(file, offset, header, *password));
  DOPPEL_CO_ASSIGN(const std::uint64_t iterations,
                   iterations_in(header.hash, header.key_bytes, change.iteration_ms.value_or(kIterationMs)));
  DOPPEL_CO_TRY(
      co_await write_slot(file, offset, header, slot, key, *change.new_password, bounded_iterations(iterations)));
  DOPPEL_CO_TRY(co_await file.flush());
  co_return co_await write_header(file, offset, header);
}

Task<Result<std::vector<std::size_t>>> slots_to_deactivate(Node& file, std::uint64_t offset, const LuksHeader& header,
                                                           const LuksChange& change) {
  std::vector<std::size_t> slots;
  for (std::size_t i = 0; i < header.slots.size(); ++i) {
    if (!header.slots[i].active || i != change.slot.value_or(i)) continue;
    if (change.old_password) {
      DOPPEL_CO_ASSIGN(const auto key,
                       co_await key_in_slot(file, offset, header, header.slots[i], *change.old_password));
      if (!key) continue;
    }
    slots.push_back(i);
  }
  if (!slots.empty()) co_return slots;
  if (!change.slot) co_return wrong("the password of old-secret= is in none of the image's key slots");
  if (!header.slots[*change.slot].active) co_return wrong(fmt::format("key slot {} is not in use", *change.slot));
  co_return wrong(fmt::format("key slot {} has another password than old-secret=", *change.slot));
}

Task<Result<>> deactivate(Node& file, std::uint64_t offset, LuksHeader& header, const LuksChange& change) {
  DOPPEL_CO_ASSIGN(const auto slots, co_await slots_to_deactivate(file, offset, header, change));
  const auto active = static_cast<std::size_t>(std::ranges::count(header.slots, true, &LuksSlot::active));
  if (slots.size() == active && !change.force)
    co_return wrong("no password would be left, and all data lost; --force does it nevertheless");
  for (const std::size_t slot : slots) DOPPEL_CO_TRY(check_place(header, slot));
  for (const std::size_t slot : slots) header.slots[slot].active = false;
  DOPPEL_CO_TRY(co_await write_header(file, offset, header));
  DOPPEL_CO_TRY(co_await file.flush());
  for (const std::size_t slot : slots) DOPPEL_CO_TRY(co_await wipe_slot(file, offset, header, slot));
  co_return Result<>{};
}

}  // namespace

Task<Result<>> change_luks(Node& file, std::uint64_t offset, LuksHeader& header,
                           const std::optional<SecretBytes>& password, const LuksChange& change) {
  DOPPEL_CO_TRY(check(change));
  if (change.activate) co_return co_await activate(file, offset, header, password, change);
  co_return co_await deactivate(file, offset, header, change);
}

}  // namespace doppel::block
