#include "block/http/http_node.h"

#include <algorithm>
#include <array>

namespace doppel::block::http {
namespace {

constexpr std::size_t kReadAhead = 256 << 10;
constexpr std::size_t kMostPerRequest = 4 << 20;

/// The file's size, learnt by asking for its first byte: a server's word that it sends ranges is worth less than one.
Result<std::uint64_t> ask_for_size(const std::shared_ptr<const Libcurl>& curl, const std::string& url) {
  std::array<std::byte, 1> first{};
  RangeRequest request(curl, url, 0, first);
  if (request.handle() == nullptr) return fail(ErrorKind::kNoSpace, "libcurl has no memory");
  const auto result = request.result(curl->easy_perform(request.handle()));
  const bool empty = !result && result.error().kind() == ErrorKind::kOutOfRange && request.total() == 0;
  if (!result && !empty) return std::unexpected(Error(result.error()).wrap(fmt::format("cannot open '{}'", url)));
  constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 62;
  if (!request.total() || *request.total() > kMostBytes)
    return fail(ErrorKind::kUnsupported, "cannot open '{}': the server does not tell the file's size", url);
  return *request.total();
}

}  // namespace

bool is_http_protocol(std::string_view protocol) {
  return protocol == "http" || protocol == "https";
}

Task<Result<NodePtr>> HttpNode::open(Context& context, std::string url, FileOptions options) {
  if (options.writable)
    co_return fail(ErrorKind::kPermissionDenied, "cannot open '{}' for writing: files on web servers are read-only",
                   url);
  DOPPEL_CO_ASSIGN(const std::shared_ptr<const Libcurl> curl, Libcurl::load());
  const std::function<Result<std::uint64_t>()> ask = [&] { return ask_for_size(curl, url); };
  DOPPEL_CO_ASSIGN(const std::uint64_t size, co_await in_worker(context.workers(), ask));
  DOPPEL_CO_ASSIGN(auto transfers, Transfers::create(context.loop(), curl));
  co_return NodePtr(new HttpNode(curl, std::move(transfers), std::move(url), size));
}

Task<Result<>> HttpNode::fetch(std::uint64_t offset, std::span<std::byte> to) {
  RangeRequest request(curl_, url_, offset, to);
  auto result = co_await transfers_->run(request);
  if (result && request.total() && *request.total() != size_)
    result = fail(ErrorKind::kIo, "the file has changed its size on the server");
  if (!result)
    co_return std::unexpected(Error(result.error()).wrap(fmt::format("cannot read '{}' at offset {}", url_, offset)));
  co_return Result<>{};
}

Task<Result<>> HttpNode::read(std::uint64_t offset, IoView to) {
  const auto inside = static_cast<std::size_t>(offset < size_ ? std::min<std::uint64_t>(to.size(), size_ - offset) : 0);
  to.slice(inside, to.size() - inside).clear();
  if (inside == 0) co_return Result<>{};
  if (inside < kReadAhead) co_return co_await read_ahead(offset, to.slice(0, inside));
  for (std::size_t done = 0; done < inside;) {
    const std::size_t length = std::min(inside - done, kMostPerRequest);
    std::vector<std::byte> bytes(length);
    const std::span<std::byte> all(bytes);
    DOPPEL_CO_TRY(co_await fetch(offset + done, all));
    to.slice(done, length).copy_from(bytes.data());
    done += length;
  }
  co_return Result<>{};
}

/// TO is shorter than the buffer, and inside of the file.
Task<Result<>> HttpNode::read_ahead(std::uint64_t offset, IoView to) {
  const auto guard = co_await ahead_mutex_.lock();
  const bool there = offset >= ahead_offset_ && offset - ahead_offset_ <= ahead_.size() &&
                     to.size() <= ahead_.size() - (offset - ahead_offset_);
  if (!there) {
    std::vector<std::byte> bytes(std::min<std::uint64_t>(kReadAhead, size_ - offset));
    const std::span<std::byte> all(bytes);
    DOPPEL_CO_TRY(co_await fetch(offset, all));
    ahead_ = std::move(bytes);
    ahead_offset_ = offset;
  }
  to.copy_from(ahead_.data() + (offset - ahead_offset_));
  co_return Result<>{};
}

Task<Result<BlockStatus>> HttpNode::block_status(std::uint64_t offset, std::uint64_t length) {
  if (offset >= size_) co_return BlockStatus{.bytes = length, .allocated = true, .zero = true};
  co_return BlockStatus{.bytes = std::min(length, size_ - offset), .allocated = true, .data = true, .offset = offset};
}

std::unexpected<Error> HttpNode::is_read_only() const {
  return fail(ErrorKind::kPermissionDenied, "'{}' is on a web server and read-only", url_);
}

Task<Result<>> HttpNode::write(std::uint64_t /*offset*/, IoView /*from*/) {
  co_return is_read_only();
}

Task<Result<>> HttpNode::write_zeroes(std::uint64_t /*offset*/, std::uint64_t /*length*/, Unmap /*unmap*/) {
  co_return is_read_only();
}

Task<Result<>> HttpNode::discard(std::uint64_t /*offset*/, std::uint64_t /*length*/) {
  co_return is_read_only();
}

Task<Result<>> HttpNode::resize(std::uint64_t /*size*/, Preallocation /*preallocation*/) {
  co_return is_read_only();
}

NodeInfo HttpNode::info() const {
  return {.format = "http", .filename = url_, .virtual_size = size_, .disk_size_known = false};
}

}  // namespace doppel::block::http
