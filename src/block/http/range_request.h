// One GET of a range of bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "block/http/libcurl.h"
#include "block/task.h"

namespace doppel::block::http {

/// "Content-Range: bytes FIRST-LAST/TOTAL", or "*/TOTAL" where the range was outside.
struct ContentRange {
  std::optional<std::uint64_t> first{};
  std::optional<std::uint64_t> total{};
};

/// What stands behind the header's name and colon.
std::optional<ContentRange> parse_content_range(std::string_view text);

/// A handle of libcurl with all that it refers to; stays where it is while the transfer goes on.
class RangeRequest {
 public:
  RangeRequest(std::shared_ptr<const Libcurl> curl, const std::string& url, std::uint64_t offset,
               std::span<std::byte> to);
  ~RangeRequest();
  RangeRequest(const RangeRequest&) = delete;
  RangeRequest& operator=(const RangeRequest&) = delete;

  /// Null: libcurl has no memory.
  [[nodiscard]] CURL* handle() const { return handle_; }
  /// What came of the transfer, which ended with CODE.
  [[nodiscard]] Result<> result(CURLcode code) const;
  /// The whole file's size, if the server told.
  [[nodiscard]] std::optional<std::uint64_t> total() const { return range_.total; }
  [[nodiscard]] long status() const;

  Completion<CURLcode> done{};

 private:
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* user);
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* user);

  const std::shared_ptr<const Libcurl> curl_;
  const std::string url_;
  const std::uint64_t offset_;
  const std::span<std::byte> to_;
  CURL* handle_;
  char error_[CURL_ERROR_SIZE] = "";
  ContentRange range_;
  std::size_t received_ = 0;
};

}  // namespace doppel::block::http
