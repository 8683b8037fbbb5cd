#include "nbd/negotiation.h"

#include <algorithm>

#include "nbd/wire.h"

namespace doppel::nbd {

using block::Task;

namespace {

/// Longer options are skipped and refused; far longer ones are no options.
constexpr std::size_t kMaxOption = 32 << 10;
constexpr std::uint32_t kMaxSkipped = 1 << 20;
/// A negotiation takes a handful. Whoever asks on and on gets nowhere.
constexpr unsigned kMaxOptions = 1000;
constexpr std::size_t kZeroesBehindExport = 124;
constexpr std::uint32_t kPreferredBlock = 4096;

constexpr std::string_view kBaseAllocation = "base:allocation";
constexpr std::string_view kAllocationDepth = "qemu:allocation-depth";

constexpr std::string_view kDirtyBitmap = "qemu:dirty-bitmap:";

std::string name_of(Context context, const Export& disk) {
  switch (context) {
    case Context::kBaseAllocation: return std::string(kBaseAllocation);
    case Context::kAllocationDepth: return std::string(kAllocationDepth);
    case Context::kDirtyBitmap: return std::string(kDirtyBitmap) + disk.bitmap->name;
  }
  return {};
}

}  // namespace

std::uint16_t transmission_flags(const Export& disk, bool structured) {
  unsigned flags = kHasFlags | kSendFlush | kSendFua | kSendCache;
  if (disk.read_only)
    flags |= kReadOnly;
  else
    flags |= kSendTrim | kSendWriteZeroes;
  if (disk.many_clients) flags |= kCanMultiConn;
  if (structured) flags |= kSendDf;
  return static_cast<std::uint16_t>(flags);
}

Task<std::optional<Agreement>> Negotiation::run() {
  const bool greeted = co_await greet();
  if (!greeted) co_return std::nullopt;
  for (unsigned count = 0; count < kMaxOptions; ++count) {
    const Next next = co_await read_option();
    if (next == Next::kTransmission) co_return agreement_;
    if (next == Next::kDrop) break;
  }
  co_return std::nullopt;
}

Task<bool> Negotiation::greet() {
  WireWriter greeting;
  greeting.put(kServerMagic).put(kOptionMagic).put(static_cast<std::uint16_t>(kFixedNewstyle | kNoZeroes));
  const bool sent = co_await channel_.write(greeting.bytes());
  if (!sent) co_return false;
  const bool answered = co_await channel_.fill(sizeof(std::uint32_t));
  if (!answered) co_return false;
  const auto flags = load_be<std::uint32_t>(channel_.buffered().data());
  channel_.consume(sizeof flags);
  no_zeroes_ = (flags & kNoZeroes) != 0;
  co_return (flags & ~std::uint32_t{kFixedNewstyle | kNoZeroes}) == 0;
}

Task<Negotiation::Next> Negotiation::read_option() {
  const bool more = co_await channel_.fill(kOptionSize);
  if (!more) co_return Next::kDrop;
  const std::byte* head = channel_.buffered().data();
  const auto magic = load_be<std::uint64_t>(head);
  const auto option = static_cast<Option>(load_be<std::uint32_t>(head + 8));
  const auto length = load_be<std::uint32_t>(head + 12);
  channel_.consume(kOptionSize);
  if (magic != kOptionMagic || length > kMaxSkipped) co_return Next::kDrop;
  if (length > kMaxOption) {
    const bool skipped = co_await channel_.skip(length);
    if (!skipped || option == Option::kExportName) co_return Next::kDrop;
    co_return co_await refuse(option, OptionReply::kErrorTooBig, "the option is too long");
  }
  const bool whole = co_await channel_.fill(length);
  if (!whole) co_return Next::kDrop;
  const std::vector<std::byte> data(channel_.buffered().begin(), channel_.buffered().begin() + length);
  channel_.consume(length);
  co_return co_await serve(option, data);
}

Task<Negotiation::Next> Negotiation::serve(Option option, Data data) {
  if (offer_.tls != nullptr && !encrypted_ && option != Option::kStartTls && option != Option::kAbort) {
    if (option == Option::kExportName) co_return Next::kDrop;  // there is no way to refuse it
    co_return co_await refuse(option, OptionReply::kErrorTlsRequired, "this server wants TLS first");
  }
  switch (option) {
    case Option::kExportName: co_return co_await export_name(data);
    case Option::kAbort: (void)co_await reply(option, OptionReply::kAck); co_return Next::kDrop;
    case Option::kList: co_return co_await list(data);
    case Option::kStartTls: co_return co_await start_tls(data);
    case Option::kInfo:
    case Option::kGo: co_return co_await info(option, data);
    case Option::kStructuredReply: co_return co_await structured_reply(data);
    case Option::kListMetaContext:
    case Option::kSetMetaContext: co_return co_await meta_context(option, data);
  }
  co_return co_await refuse(option, OptionReply::kErrorUnsupported, "this server does not know the option");
}

Task<Negotiation::Next> Negotiation::export_name(Data data) {
  const Export* disk = find({reinterpret_cast<const char*>(data.data()), data.size()});
  if (disk == nullptr) co_return Next::kDrop;
  WireWriter answer;
  answer.put(disk->node->size()).put(transmission_flags(*disk, structured_));
  if (!no_zeroes_) answer.zeroes(kZeroesBehindExport);
  const bool sent = co_await channel_.write(answer.bytes());
  if (!sent) co_return Next::kDrop;
  choose(*disk);
  co_return Next::kTransmission;
}

Task<Negotiation::Next> Negotiation::list(Data data) {
  if (!data.empty()) co_return co_await refuse(Option::kList, OptionReply::kErrorInvalid, "LIST takes no data");
  for (const Export& disk : offer_.exports) {
    WireWriter entry;
    entry.put(static_cast<std::uint32_t>(disk.name.size())).text(disk.name).text(disk.description);
    const Next next = co_await reply(Option::kList, OptionReply::kServer, entry.bytes());
    if (next == Next::kDrop) co_return next;
  }
  co_return co_await reply(Option::kList, OptionReply::kAck);
}

Task<Negotiation::Next> Negotiation::start_tls(Data data) {
  constexpr Option kOption = Option::kStartTls;
  if (!data.empty() || encrypted_)
    co_return co_await refuse(kOption, OptionReply::kErrorInvalid, "STARTTLS takes no data and comes once");
  if (offer_.tls == nullptr) co_return co_await refuse(kOption, OptionReply::kErrorPolicy, "this server has no TLS");
  // What is here already came in the clear, and must not be taken for what the client says under TLS.
  if (!channel_.buffered().empty()) co_return Next::kDrop;
  const Next acknowledged = co_await reply(kOption, OptionReply::kAck);
  if (acknowledged == Next::kDrop) co_return acknowledged;
  encrypted_ = co_await offer_.tls->start(channel_);
  // So must what was agreed on in the clear be forgotten; but without TLS nothing could be.
  co_return encrypted_ ? Next::kOption : Next::kDrop;
}

Task<Negotiation::Next> Negotiation::info(Option option, Data data) {
  WireReader reader(data);
  const auto name = reader.counted_text();
  const auto count = reader.take<std::uint16_t>();
  std::vector<Info> wanted;
  for (unsigned i = 0; count && i < *count; ++i)
    if (const auto type = reader.take<std::uint16_t>()) wanted.push_back(static_cast<Info>(*type));
  if (!name || name->size() > kMaxName || !count || wanted.size() != *count || !reader.at_end())
    co_return co_await refuse(option, OptionReply::kErrorInvalid, "the request has the wrong length");
  const Export* disk = find(*name);
  if (disk == nullptr) co_return co_await refuse(option, OptionReply::kErrorUnknown, "there is no such export");

  const auto tell = [&](Info type) { return std::ranges::find(wanted, type) != wanted.end(); };
  const auto number = [](Info type) { return static_cast<std::uint16_t>(type); };
  std::vector<WireWriter> answers(1);
  answers[0].put(number(Info::kExport)).put(disk->node->size()).put(transmission_flags(*disk, structured_));
  if (tell(Info::kName)) answers.emplace_back().put(number(Info::kName)).text(disk->name);
  if (tell(Info::kDescription) && !disk->description.empty())
    answers.emplace_back().put(number(Info::kDescription)).text(disk->description);
  if (tell(Info::kBlockSize))
    answers.emplace_back().put(number(Info::kBlockSize)).put(std::uint32_t{1}).put(kPreferredBlock).put(kMaxPayload);
  for (const WireWriter& answer : answers) {
    const Next next = co_await reply(option, OptionReply::kInfo, answer.bytes());
    if (next == Next::kDrop) co_return next;
  }
  const Next next = co_await reply(option, OptionReply::kAck);
  if (next == Next::kDrop || option == Option::kInfo) co_return next;
  choose(*disk);
  co_return Next::kTransmission;
}

Task<Negotiation::Next> Negotiation::structured_reply(Data data) {
  if (!data.empty())
    co_return co_await refuse(Option::kStructuredReply, OptionReply::kErrorInvalid, "the option takes no data");
  structured_ = true;
  co_return co_await reply(Option::kStructuredReply, OptionReply::kAck);
}

/// The contexts that a client's QUERY means: all of a namespace where it lists, else by name.
std::vector<Context> Negotiation::query(const Export& disk, std::string_view text, bool listing) const {
  std::vector<Context> found;
  const auto offer = [&](Context context, std::string_view space) {
    if (text == name_of(context, disk) || (listing && text == space)) found.push_back(context);
  };
  offer(Context::kBaseAllocation, "base:");
  if (disk.allocation_depth) offer(Context::kAllocationDepth, "qemu:");
  if (disk.bitmap) offer(Context::kDirtyBitmap, text == kDirtyBitmap ? kDirtyBitmap : "qemu:");
  return found;
}

Task<Negotiation::Next> Negotiation::meta_context(Option option, Data data) {
  const bool listing = option == Option::kListMetaContext;
  if (!listing) {
    contexts_.clear();
    contexts_of_ = nullptr;
    if (!structured_) co_return co_await refuse(option, OptionReply::kErrorInvalid, "contexts need structured replies");
  }
  WireReader reader(data);
  const auto name = reader.counted_text();
  const auto count = reader.take<std::uint32_t>();
  std::vector<std::string_view> queries;
  for (std::uint32_t i = 0; count && i < *count; ++i) {
    const auto text = reader.counted_text();
    if (!text) break;
    queries.push_back(*text);
  }
  if (!name || name->size() > kMaxName || !count || queries.size() != *count || !reader.at_end())
    co_return co_await refuse(option, OptionReply::kErrorInvalid, "the request has the wrong length");
  const Export* disk = find(*name);
  if (disk == nullptr) co_return co_await refuse(option, OptionReply::kErrorUnknown, "there is no such export");

  if (listing && queries.empty()) queries = {"base:", "qemu:"};
  std::vector<Context> found;
  for (const std::string_view text : queries)
    for (const Context context : query(*disk, text, listing))
      if (std::ranges::find(found, context) == found.end()) found.push_back(context);
  for (const Context context : found) {
    WireWriter answer;
    answer.put(listing ? std::uint32_t{0} : static_cast<std::uint32_t>(context)).text(name_of(context, *disk));
    const Next next = co_await reply(option, OptionReply::kMetaContext, answer.bytes());
    if (next == Next::kDrop) co_return next;
  }
  if (!listing) {
    contexts_ = std::move(found);
    contexts_of_ = disk;
  }
  co_return co_await reply(option, OptionReply::kAck);
}

Task<Negotiation::Next> Negotiation::reply(Option option, OptionReply type, Data data) {
  WireWriter message;
  message.put(kOptionReplyMagic)
      .put(static_cast<std::uint32_t>(option))
      .put(static_cast<std::uint32_t>(type))
      .put(static_cast<std::uint32_t>(data.size()))
      .text({reinterpret_cast<const char*>(data.data()), data.size()});
  const bool sent = co_await channel_.write(message.bytes());
  co_return sent ? Next::kOption : Next::kDrop;
}

Task<Negotiation::Next> Negotiation::refuse(Option option, OptionReply type, std::string_view why) {
  co_return co_await reply(option, type, std::as_bytes(std::span(why)));
}

const Export* Negotiation::find(std::string_view name) const {
  const auto found = std::ranges::find(offer_.exports, name, &Export::name);
  if (found != offer_.exports.end()) return &*found;
  // The default export is the only one.
  return name.empty() && offer_.exports.size() == 1 ? &offer_.exports.front() : nullptr;
}

void Negotiation::choose(const Export& disk) {
  agreement_.disk = &disk;
  agreement_.structured = structured_;
  // Chosen for another export, they do not hold for this one.
  if (contexts_of_ == &disk) agreement_.contexts = contexts_;
}

}  // namespace doppel::nbd
