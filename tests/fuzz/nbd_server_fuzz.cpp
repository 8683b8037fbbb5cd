// A hostile NBD client: the negotiation and the requests behind it, from the first byte that it sends. Half of the
// inputs begin behind a sound negotiation, so that requests are reached at once.
#include "block/memory_node.h"
#include "fuzz/fuzz_input.h"
#include "nbd/scripted_transport.h"
#include "nbd/session.h"
#include "nbd/wire.h"

namespace doppel::nbd {
namespace {

constexpr std::string_view kContext = "base:allocation";

void put_option(WireWriter& script, Option option, const WireWriter& data) {
  script.put(kOptionMagic).put(static_cast<std::uint32_t>(option)).put(static_cast<std::uint32_t>(data.bytes().size()));
  script.text({reinterpret_cast<const char*>(data.bytes().data()), data.bytes().size()});
}

void negotiate(WireWriter& script, bool structured) {
  script.put(std::uint32_t{kFixedNewstyle | kNoZeroes});
  if (structured) {
    put_option(script, Option::kStructuredReply, {});
    WireWriter query;
    query.put(std::uint32_t{1})
        .text("a")
        .put(std::uint32_t{1})
        .put(static_cast<std::uint32_t>(kContext.size()))
        .text(kContext);
    put_option(script, Option::kSetMetaContext, query);
  }
  put_option(script, Option::kGo, WireWriter().put(std::uint32_t{1}).text("a").put(std::uint16_t{0}));
}

void run(fuzz::FuzzInput input, const std::uint8_t* data, std::size_t size) {
  event::Loop loop;
  block::MemoryNode node(std::vector<std::byte>(100'000, std::byte{1}));
  Offer offer;
  offer.exports.push_back({.name = "a", .description = "b", .node = &node, .discard = true, .allocation_depth = true});
  const auto mode = input.take<std::uint8_t>();
  node.is_read_only = offer.exports[0].read_only = (mode & 4U) != 0;  // its data goes through pipes
  WireWriter script;
  if ((mode & 1U) != 0) negotiate(script, (mode & 2U) != 0);
  script.text({reinterpret_cast<const char*>(data) + 1, size - 1});
  std::vector<std::byte> output;
  PipePool pipes;
  Session session(loop, offer, std::make_unique<ScriptedTransport>(script.bytes(), output, 1 + mode), pipes);
  (void)block::run_to_end(loop, session.run());
  fuzz::require(output.size() >= 18, "the server greets");
  fuzz::require(node.size() == 100'000, "an export does not grow");
}

}  // namespace
}  // namespace doppel::nbd

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 0) doppel::nbd::run(doppel::fuzz::FuzzInput(data, size), data, size);
  return 0;
}
