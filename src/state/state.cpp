#include "state/state.h"

#include <cassert>

#include "base/endian.h"

namespace doppel::state {

namespace {

// A section is its name, its version, the length of the rest, and the rest. Names and strings carry a length.
constexpr std::size_t kLengthSize = 4;
constexpr std::size_t kVersionSize = 4;
constexpr std::size_t kCountSize = 8;

}  // namespace

void Writer::begin_section(std::string_view name, std::uint32_t version) {
  put_name(name);
  put_integer(version, kVersionSize);
  put_integer(0, kLengthSize);  // end_section() knows it
  section_starts_.push_back(bytes_.size());
}

void Writer::end_section() {
  assert(!section_starts_.empty());
  const std::size_t start = section_starts_.back();
  section_starts_.pop_back();
  store_le_sized(&bytes_[start - kLengthSize], kLengthSize, bytes_.size() - start);
}

void Writer::put_name(std::string_view name) {
  put_bytes(std::as_bytes(std::span(name)));
}

void Writer::put_integer(std::uint64_t value, std::size_t size) {
  const std::size_t at = bytes_.size();
  bytes_.resize(at + size);
  store_le_sized(&bytes_[at], size, value);
}

void Writer::put_bytes(std::span<const std::byte> bytes) {
  put_integer(bytes.size(), kLengthSize);
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

void Writer::put_count(std::uint64_t elements) {
  put_integer(elements, kCountSize);
}

namespace {

/// A name as an error may show it, whatever bytes it was read from.
std::string printable(std::string_view name) {
  constexpr std::size_t kMost = 64;
  std::string shown(name.substr(0, kMost));
  for (char& c : shown)
    if (c < ' ' || c > '~') c = '?';
  return shown;
}

}  // namespace

Result<std::uint32_t> Reader::begin_section(std::string_view name, std::uint32_t newest_version) {
  field_.clear();
  if (failed()) return failure();
  if (at_end()) {
    set_error(fmt::format("section '{}' is missing", name));
    return failure();
  }
  const std::string found = get_name();
  const auto version = static_cast<std::uint32_t>(get_integer(kVersionSize));
  const std::uint64_t length = get_integer(kLengthSize);
  if (failed()) return failure();
  if (found != name) {
    set_error(fmt::format("expected section '{}', found '{}'", name, printable(found)));
    return failure();
  }
  if (version > newest_version) {
    set_error(fmt::format("section '{}' is of version {}; this program reads up to {}", name, version, newest_version));
    return std::unexpected(Error(ErrorKind::kUnsupported, error_));
  }
  const auto fields = take(length);
  if (failed()) return failure();
  sections_.push_back({std::string(name), rest_});
  rest_ = fields;
  return version;
}

Result<> Reader::end_section() {
  assert(failed() || !sections_.empty());
  if (!failed() && !at_end()) {
    field_.clear();
    const std::size_t left = rest_.size();
    const std::string next = get_name();
    error_.clear();
    set_error(next.empty() ? fmt::format("{} bytes are left over", left)
                           : fmt::format("there is no field '{}' in this version", printable(next)));
  }
  if (failed()) return failure();
  rest_ = sections_.back().after;
  sections_.pop_back();
  return {};
}

void Reader::expect_name(std::string_view name) {
  if (failed()) return;
  field_.clear();
  if (at_end()) return set_error(fmt::format("field '{}' is missing", name));
  const std::string found = get_name();
  if (failed()) return;
  if (found != name) return set_error(fmt::format("expected field '{}', found '{}'", name, printable(found)));
  field_ = name;
}

std::uint64_t Reader::get_integer(std::size_t size) {
  const auto bytes = take(size);
  return bytes.empty() ? 0 : load_le_sized(bytes.data(), bytes.size());
}

bool Reader::get_bool() {
  const std::uint64_t value = get_integer(1);
  if (value > 1) set_error(fmt::format("{} is neither false (0) nor true (1)", value));
  return value == 1;
}

std::uint64_t Reader::get_count() {
  const std::uint64_t count = get_integer(kCountSize);
  if (count <= rest_.size()) return count;
  set_error(fmt::format("{} elements do not fit into the {} bytes left", count, rest_.size()));
  return 0;
}

std::span<const std::byte> Reader::get_bytes() {
  return take(get_integer(kLengthSize));
}

std::span<const std::byte> Reader::take(std::uint64_t size) {
  if (failed()) return {};
  if (size > rest_.size()) {
    set_error(fmt::format("{} bytes are expected, {} are left", size, rest_.size()));
    return {};
  }
  const auto taken = rest_.first(static_cast<std::size_t>(size));
  rest_ = rest_.subspan(taken.size());
  return taken;
}

std::string Reader::get_name() {
  const auto bytes = get_bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void Reader::set_error(std::string_view what) {
  if (failed()) return;
  error_ = "saved state";
  for (const Section& section : sections_) error_ += fmt::format(", section '{}'", section.name);
  if (!field_.empty()) error_ += fmt::format(", field '{}'", field_);
  error_ += fmt::format(": {}", what);
}

std::unexpected<Error> Reader::failure() const {
  return std::unexpected(Error(ErrorKind::kCorrupt, error_));
}

}  // namespace doppel::state
