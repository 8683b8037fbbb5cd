#include "block/crypto/luks.h"

#include <algorithm>
#include <cstring>

#include "base/bits.h"
#include "base/endian.h"
#include "base/text.h"
#include "block/crypto/digest.h"
#include "block/crypto/luks_key.h"

namespace doppel::block {
namespace {

constexpr std::array<std::uint8_t, 6> kMark = {'L', 'U', 'K', 'S', 0xba, 0xbe};
constexpr std::uint32_t kActive = 0x00ac71f3;
constexpr std::uint32_t kInactive = 0x0000dead;
constexpr std::uint64_t kFirstKey = 4096;  // in bytes; each slot's material is aligned so
constexpr std::uint32_t kLeastIterations = 1000;
/// More would keep the host at work for hours, to no purpose but that.
constexpr std::uint32_t kMostIterations = 1U << 25;
constexpr std::uint32_t kMostKeyBytes = 64;

/// As it lies in the file; the specification's figure 1 and 2.
struct RawSlot {
  Be32 active;
  Be32 iterations;
  std::array<std::byte, 32> salt;
  Be32 offset;
  Be32 stripes;
};
struct RawLuks {
  std::array<std::uint8_t, 6> mark;
  std::array<std::uint8_t, 2> version;
  std::array<char, 32> cipher;
  std::array<char, 32> mode;
  std::array<char, 32> hash;
  Be32 payload;
  Be32 key_bytes;
  std::array<std::byte, 20> digest;
  std::array<std::byte, 32> digest_salt;
  Be32 digest_iterations;
  std::array<char, 40> uuid;
  std::array<RawSlot, LuksHeader::kSlots> slots;
};
static_assert(sizeof(RawLuks) == 592);

template <std::size_t N>
std::string text_of(const std::array<char, N>& field) {
  return {field.data(), ::strnlen(field.data(), N)};
}
template <std::size_t N>
void put_text(std::array<char, N>& field, const std::string& text) {
  std::memcpy(field.data(), text.data(), std::min(N - 1, text.size()));
}

std::unexpected<Error> bad(std::string text) {
  return std::unexpected(Error(ErrorKind::kCorrupt, std::move(text)));
}

Result<> check(const LuksHeader& header) {
  if (header.key_bytes == 0 || header.key_bytes > kMostKeyBytes)
    return bad(fmt::format("a LUKS key of {} bytes is not possible", header.key_bytes));
  const std::vector<std::byte> key(header.key_bytes);
  DOPPEL_TRY(SectorCipher::create(header.cipher, header.mode, key));
  DOPPEL_TRY(find_hash(header.hash));
  if (header.digest_iterations == 0 || header.digest_iterations > kMostIterations)
    return bad(fmt::format("{} iterations of the LUKS key's digest are not possible", header.digest_iterations));
  for (std::size_t i = 0; i < header.slots.size(); ++i) {
    const LuksSlot& slot = header.slots[i];
    if (!slot.active) continue;
    if (slot.iterations == 0 || slot.iterations > kMostIterations)
      return bad(fmt::format("{} iterations in LUKS key slot {} are not possible", slot.iterations, i));
    DOPPEL_TRY(check_place(header, i));
  }
  return {};
}

RawLuks encode(const LuksHeader& header) {
  RawLuks raw{};
  raw.mark = kMark;
  raw.version = {0, 1};
  put_text(raw.cipher, header.cipher);
  put_text(raw.mode, header.mode);
  put_text(raw.hash, header.hash);
  raw.payload = header.payload;
  raw.key_bytes = header.key_bytes;
  raw.digest = header.digest;
  raw.digest_salt = header.digest_salt;
  raw.digest_iterations = header.digest_iterations;
  put_text(raw.uuid, header.uuid);
  for (std::size_t i = 0; i < header.slots.size(); ++i) {
    const LuksSlot& slot = header.slots[i];
    raw.slots[i].active = slot.active ? kActive : kInactive;
    raw.slots[i].iterations = slot.iterations;
    raw.slots[i].salt = slot.salt;
    raw.slots[i].offset = slot.offset;
    raw.slots[i].stripes = slot.stripes;
  }
  return raw;
}

LuksHeader decode(const RawLuks& raw) {
  LuksHeader header;
  header.cipher = text_of(raw.cipher);
  header.mode = text_of(raw.mode);
  header.hash = text_of(raw.hash);
  header.payload = raw.payload;
  header.key_bytes = raw.key_bytes;
  header.digest = raw.digest;
  header.digest_salt = raw.digest_salt;
  header.digest_iterations = raw.digest_iterations;
  header.uuid = text_of(raw.uuid);
  for (std::size_t i = 0; i < header.slots.size(); ++i) {
    const RawSlot& slot = raw.slots[i];
    header.slots[i] = {.active = slot.active == kActive,
                       .iterations = slot.iterations,
                       .salt = slot.salt,
                       .offset = slot.offset,
                       .stripes = slot.stripes};
  }
  return header;
}

/// "aes-256" in mode xts: a key of twice 256 bits.
Result<LuksHeader> plan(const LuksOptions& options) {
  LuksHeader header;
  const std::size_t dash = options.cipher.rfind('-');
  header.cipher = options.cipher.substr(0, dash);
  const auto bits = parse_number(dash == std::string::npos ? "" : options.cipher.substr(dash + 1));
  if (!bits || *bits % 8 != 0 || *bits > 256)
    return fail(ErrorKind::kInvalidArgument, "'{}' is no cipher such as aes-128 or aes-256", options.cipher);
  header.key_bytes = static_cast<std::uint32_t>(*bits / 8 * (options.mode == "xts" ? 2 : 1));
  const std::string hash = options.numbering_hash.empty() ? "sha256" : options.numbering_hash;
  header.mode = options.mode + "-" + options.numbering + (options.numbering == "essiv" ? ":" + hash : "");
  header.hash = options.hash;
  const std::vector<std::byte> key(header.key_bytes);
  DOPPEL_TRY(SectorCipher::create(header.cipher, header.mode, key));
  DOPPEL_TRY(find_hash(header.hash));
  const std::uint64_t slot_bytes = align_up(material_bytes(header), kFirstKey);
  for (std::size_t i = 0; i < header.slots.size(); ++i) {
    header.slots[i].offset = static_cast<std::uint32_t>((kFirstKey + i * slot_bytes) / SectorCipher::kSector);
    header.slots[i].stripes = LuksHeader::kStripes;
  }
  header.payload = static_cast<std::uint32_t>((kFirstKey + header.slots.size() * slot_bytes) / SectorCipher::kSector);
  return header;
}

std::string random_uuid() {
  std::array<std::byte, 16> bytes;
  fill_randomly(bytes);
  bytes[6] = (bytes[6] & std::byte{0x0f}) | std::byte{0x40};  // version 4, RFC 4122
  bytes[8] = (bytes[8] & std::byte{0x3f}) | std::byte{0x80};
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", std::to_integer<unsigned>(bytes[i]));
  }
  return text;
}

}  // namespace

Result<> check_place(const LuksHeader& header, std::size_t index) {
  const LuksSlot& slot = header.slots[index];
  if (slot.stripes != LuksHeader::kStripes)
    return bad(fmt::format("LUKS key slot {} has {} stripes, not {}", index, slot.stripes, LuksHeader::kStripes));
  const std::uint64_t begin = std::uint64_t{slot.offset} * SectorCipher::kSector;
  if (begin < sizeof(RawLuks) || begin + material_bytes(header) > header.payload_bytes())
    return bad(fmt::format("LUKS key slot {} is not between the header and the data", index));
  return {};
}

std::uint32_t bounded_iterations(std::uint64_t iterations) {
  return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(iterations, kLeastIterations, kMostIterations));
}

Task<Result<>> write_header(Node& file, std::uint64_t offset, const LuksHeader& header) {
  const RawLuks raw = encode(header);
  const std::span<const std::byte> bytes = std::as_bytes(std::span<const RawLuks>(&raw, 1));
  co_return co_await file.write(offset, bytes);
}

Task<Result<LuksHeader>> read_luks(Node& file, std::uint64_t offset) {
  RawLuks raw{};
  DOPPEL_CO_TRY(co_await file.read(offset, std::as_writable_bytes(std::span<RawLuks>(&raw, 1))));
  if (raw.mark != kMark) co_return bad("it does not begin with LUKS's mark");
  const unsigned version = raw.version[0] * 256U + raw.version[1];
  if (version != 1) co_return fail(ErrorKind::kUnsupported, "LUKS version {} is not known, only 1", version);
  LuksHeader header = decode(raw);
  DOPPEL_CO_TRY(check(header));
  co_return header;
}

Result<std::uint64_t> luks_overhead(const LuksOptions& options) {
  DOPPEL_ASSIGN(const LuksHeader header, plan(options));
  return header.payload_bytes();
}

Task<Result<LuksHeader>> create_luks(Node& file, std::uint64_t offset, const LuksOptions& options,
                                     const SecretBytes& password) {
  DOPPEL_CO_ASSIGN(LuksHeader header, plan(options));
  DOPPEL_CO_ASSIGN(const std::uint64_t iterations, iterations_in(options.hash, header.key_bytes, options.iteration_ms));
  header.uuid = random_uuid();
  std::vector<std::byte> key(header.key_bytes);
  fill_randomly(key);
  fill_randomly(header.digest_salt);
  header.digest_iterations = bounded_iterations(iterations / LuksHeader::kSlots);
  DOPPEL_CO_ASSIGN(header.digest, digest_of(header, key));
  DOPPEL_CO_TRY(co_await file.write_zeroes(offset, header.payload_bytes(), Unmap::kKeep));
  DOPPEL_CO_TRY(co_await write_slot(file, offset, header, 0, key, password, bounded_iterations(iterations)));
  DOPPEL_CO_TRY(co_await write_header(file, offset, header));
  co_return header;
}

Task<Result<SectorCipher>> unlock_luks(Node& file, std::uint64_t offset, const LuksHeader& header,
                                       const SecretBytes& password) {
  DOPPEL_CO_ASSIGN(const auto key, co_await master_key(file, offset, header, password));
  co_return SectorCipher::create(header.cipher, header.mode, key);
}

FormatDetails luks_details(const LuksHeader& header) {
  const std::size_t dash = header.mode.find('-');
  const std::string numbering = dash == std::string::npos ? "plain" : header.mode.substr(dash + 1);
  const bool xts = header.mode.starts_with("xts");
  FormatDetails details = {
      {"ivgen alg", numbering.substr(0, numbering.find(':'))},
      {"hash alg", header.hash},
      {"cipher alg", fmt::format("{}-{}", header.cipher, header.key_bytes * 8 / (xts ? 2 : 1))},
      {"uuid", header.uuid},
      {"cipher mode", header.mode.substr(0, dash)},
  };
  if (const std::size_t colon = numbering.find(':'); colon != std::string::npos)
    details.insert(details.begin() + 1, FormatDetail{"ivgen hash alg", numbering.substr(colon + 1)});
  std::vector<FormatDetails> slots;
  for (const LuksSlot& slot : header.slots) {
    FormatDetails one{{"active", slot.active}};
    if (slot.active) one.push_back({"iters", std::uint64_t{slot.iterations}});
    one.push_back({"key offset", std::uint64_t{slot.offset} * SectorCipher::kSector});
    if (slot.active) one.push_back({"stripes", std::uint64_t{slot.stripes}});
    slots.push_back(std::move(one));
  }
  details.push_back({"slots", std::move(slots)});
  details.push_back({"payload offset", header.payload_bytes()});
  details.push_back({"master key iters", std::uint64_t{header.digest_iterations}});
  return details;
}

}  // namespace doppel::block
