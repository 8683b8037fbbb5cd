// A client's request after the negotiation, and what is wrong with it.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "nbd/export.h"
#include "nbd/protocol.h"

namespace doppel::nbd {

struct Request {
  std::uint16_t flags = 0;
  Command command = Command::kRead;
  std::uint64_t cookie = 0;  // comes back in the reply
  std::uint64_t offset = 0;
  std::uint32_t length = 0;

  [[nodiscard]] bool has_payload() const { return command == Command::kWrite; }
  [[nodiscard]] bool has(std::uint16_t flag) const { return (flags & flag) != 0; }
};

/// Nothing if BYTES, kRequestSize of them, are no request: then nobody knows what follows.
std::optional<Request> parse_request(std::span<const std::byte> bytes);

struct Refusal {
  WireError error;
  std::string_view why;
};

/// What must be answered instead of doing it, if anything.
std::optional<Refusal> check(const Request& request, const Agreement& agreement);

}  // namespace doppel::nbd
