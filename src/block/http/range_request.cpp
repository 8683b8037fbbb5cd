#include "block/http/range_request.h"

#include <algorithm>
#include <cctype>
#include <cstring>

#include "base/text.h"

namespace doppel::block::http {
namespace {

constexpr long kPartialContent = 206;
constexpr long kOutside = 416;
constexpr long kMostRedirects = 10;
constexpr long kConnectSeconds = 30;
constexpr long kStalledSeconds = 30;
constexpr const char* kProtocols = "http,https";

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.remove_suffix(1);
  return text;
}

bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, {}, [](unsigned char c) { return std::tolower(c); }, [](unsigned char c) { return std::tolower(c); });
}

std::optional<std::uint64_t> decimal(std::string_view text) {
  const bool digits = !text.empty() && std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) != 0; });
  if (!digits || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  const auto value = parse_number(text);
  return value ? std::optional(*value) : std::nullopt;
}

}  // namespace

std::optional<ContentRange> parse_content_range(std::string_view text) {
  text = trimmed(text);
  constexpr std::string_view kUnit = "bytes ";
  const std::size_t slash = text.find('/');
  if (!text.starts_with(kUnit) || slash == std::string_view::npos) return std::nullopt;
  ContentRange range{.total = decimal(text.substr(slash + 1))};
  const std::string_view where = trimmed(text.substr(kUnit.size(), slash - kUnit.size()));
  if (where == "*") return range;
  range.first = decimal(where.substr(0, where.find('-')));
  if (!range.first) return std::nullopt;
  return range;
}

RangeRequest::RangeRequest(std::shared_ptr<const Libcurl> curl, const std::string& url, std::uint64_t offset,
                           std::span<std::byte> to)
    : curl_(std::move(curl)), url_(url), offset_(offset), to_(to), handle_(curl_->easy_init()) {
  if (handle_ == nullptr) return;
  const auto set = [&](CURLoption option, auto value) { (void)curl_->easy_setopt(handle_, option, value); };
  const std::string range = fmt::format("{}-{}", offset, offset + to.size() - 1);
  set(CURLOPT_URL, url_.c_str());
  set(CURLOPT_RANGE, range.c_str());
  set(CURLOPT_PROTOCOLS_STR, kProtocols);
  set(CURLOPT_REDIR_PROTOCOLS_STR, kProtocols);
  set(CURLOPT_FOLLOWLOCATION, 1L);
  set(CURLOPT_MAXREDIRS, kMostRedirects);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(CURLOPT_LOW_SPEED_TIME, kStalledSeconds);
  set(CURLOPT_ERRORBUFFER, static_cast<char*>(error_));
  set(CURLOPT_PRIVATE, static_cast<void*>(this));
  set(CURLOPT_WRITEFUNCTION, &RangeRequest::on_body);
  set(CURLOPT_WRITEDATA, static_cast<void*>(this));
  set(CURLOPT_HEADERFUNCTION, &RangeRequest::on_header);
  set(CURLOPT_HEADERDATA, static_cast<void*>(this));
}

RangeRequest::~RangeRequest() {
  if (handle_ != nullptr) curl_->easy_cleanup(handle_);
}

long RangeRequest::status() const {
  long status = 0;
  (void)curl_->easy_getinfo(handle_, CURLINFO_RESPONSE_CODE, &status);
  return status;
}

/// Anything but the bytes asked for ends the transfer: a whole file may be long.
std::size_t RangeRequest::on_body(char* data, std::size_t size, std::size_t count, void* user) {
  auto* request = static_cast<RangeRequest*>(user);
  const std::size_t bytes = size * count;
  if (request->status() != kPartialContent || bytes > request->to_.size() - request->received_) return 0;
  std::memcpy(request->to_.data() + request->received_, data, bytes);
  request->received_ += bytes;
  return bytes;
}

std::size_t RangeRequest::on_header(char* data, std::size_t size, std::size_t count, void* user) {
  auto* request = static_cast<RangeRequest*>(user);
  const std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) request->range_ = {};  // a redirection's headers were another file's
  const std::size_t colon = line.find(':');
  if (colon != std::string_view::npos && same_name(line.substr(0, colon), "content-range"))
    if (const auto range = parse_content_range(line.substr(colon + 1))) request->range_ = *range;
  return line.size();
}

Result<> RangeRequest::result(CURLcode code) const {
  const long answer = status();
  if (answer == kOutside) return fail(ErrorKind::kOutOfRange, "the server has no bytes there");
  if (answer >= 400) return fail(ErrorKind::kIo, "the server answers with HTTP status {}", answer);
  if (answer >= 200 && answer < 300 && answer != kPartialContent)
    return fail(ErrorKind::kUnsupported, "the server does not send parts of files (HTTP ranges)");
  if (code != CURLE_OK) return fail(ErrorKind::kIo, "{}", error_[0] != '\0' ? error_ : curl_->easy_strerror(code));
  if (range_.first != offset_ || received_ != to_.size())
    return fail(ErrorKind::kIo, "the server has sent other bytes than those asked for");
  return {};
}

}  // namespace doppel::block::http
