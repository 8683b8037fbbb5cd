#include "nbd/request.h"

#include "base/endian.h"

namespace doppel::nbd {
namespace {

struct CommandRow {
  Command command;
  std::uint16_t flags;   // that it may have, besides FUA, which is allowed everywhere
  bool changes;          // the disk
  bool payload_bounded;  // its length is one of bytes sent, or held in memory
  WireError behind_end;  // what the specification wants for a range that does not fit
};

constexpr CommandRow kCommands[] = {
    {Command::kRead, kDontFragment, false, true, WireError::kInvalid},
    {Command::kWrite, 0, true, true, WireError::kNoSpace},
    {Command::kFlush, 0, false, false, WireError::kNone},
    {Command::kTrim, 0, true, false, WireError::kInvalid},
    {Command::kCache, 0, false, true, WireError::kInvalid},
    {Command::kWriteZeroes, kNoHole, true, false, WireError::kNoSpace},
    {Command::kBlockStatus, kRequestOne, false, false, WireError::kInvalid},
};

const CommandRow* find(Command command) {
  for (const CommandRow& row : kCommands)
    if (row.command == command) return &row;
  return nullptr;
}

}  // namespace

std::optional<Request> parse_request(std::span<const std::byte> bytes) {
  if (bytes.size() < kRequestSize || load_be<std::uint32_t>(bytes.data()) != kRequestMagic) return std::nullopt;
  return Request{.flags = load_be<std::uint16_t>(&bytes[4]),
                 .command = static_cast<Command>(load_be<std::uint16_t>(&bytes[6])),
                 .cookie = load_be<std::uint64_t>(&bytes[8]),
                 .offset = load_be<std::uint64_t>(&bytes[16]),
                 .length = load_be<std::uint32_t>(&bytes[24])};
}

std::optional<Refusal> check(const Request& request, const Agreement& agreement) {
  const CommandRow* row = find(request.command);
  if (row == nullptr) return Refusal{WireError::kInvalid, "there is no such command"};
  const auto unknown = static_cast<std::uint16_t>(request.flags & ~(row->flags | kFua));
  if (unknown != 0) return Refusal{WireError::kInvalid, "the request has a flag that it may not have"};
  if (request.has(kDontFragment) && !agreement.structured)
    return Refusal{WireError::kInvalid, "DF needs structured replies"};
  if (request.command == Command::kBlockStatus && agreement.contexts.empty())
    return Refusal{WireError::kInvalid, "no context was chosen"};
  if (request.command == Command::kBlockStatus && request.length == 0)
    return Refusal{WireError::kInvalid, "block status of nothing"};
  if (row->changes && agreement.disk->read_only) return Refusal{WireError::kPermission, "the export is read-only"};
  if (row->payload_bounded && request.length > kMaxPayload)
    return Refusal{WireError::kInvalid, "the request is too long"};
  const std::uint64_t size = agreement.disk->node->size();
  const bool fits = request.offset <= size && request.length <= size - request.offset;
  if (row->behind_end != WireError::kNone && !fits)
    return Refusal{row->behind_end, "the request goes beyond the end of the export"};
  return std::nullopt;
}

}  // namespace doppel::nbd
