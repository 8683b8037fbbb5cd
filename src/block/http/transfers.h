// Transfers of libcurl on the event loop.
#pragma once

#include <map>
#include <memory>

#include "block/context.h"
#include "block/http/libcurl.h"
#include "block/http/range_request.h"

namespace doppel::block::http {

/// On the loop's thread. Shared, so that it may be let go of by whom it resumes.
class Transfers : public std::enable_shared_from_this<Transfers> {
 public:
  static Result<std::shared_ptr<Transfers>> create(event::Loop& loop, std::shared_ptr<const Libcurl> curl);
  ~Transfers();
  Transfers(const Transfers&) = delete;
  Transfers& operator=(const Transfers&) = delete;

  Task<Result<>> run(RangeRequest& request);

 private:
  struct Watches {
    std::unique_ptr<event::FdWatch> readable{};
    std::unique_ptr<event::FdWatch> writable{};
  };

  Transfers(event::Loop& loop, std::shared_ptr<const Libcurl> curl, CURLM* multi);
  static int on_socket(CURL* easy, curl_socket_t fd, int what, void* user, void* socket_user);
  static int on_timeout(CURLM* multi, long timeout_ms, void* user);
  void act(curl_socket_t fd, int events);

  event::Loop& loop_;
  const std::shared_ptr<const Libcurl> curl_;
  CURLM* multi_;
  std::unique_ptr<event::Timer> timer_;
  std::map<curl_socket_t, Watches> watches_;
};

}  // namespace doppel::block::http
