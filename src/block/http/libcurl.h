// The functions of libcurl that are used, loaded with the first disk on a web server.
#pragma once

#include <curl/curl.h>

#include <memory>

#include "base/error.h"

namespace doppel::block::http {

struct Libcurl {
  static Result<std::shared_ptr<const Libcurl>> load();

  decltype(::curl_global_init)* global_init = nullptr;
  decltype(::curl_easy_init)* easy_init = nullptr;
  decltype(::curl_easy_cleanup)* easy_cleanup = nullptr;
  decltype(::curl_easy_setopt)* easy_setopt = nullptr;
  decltype(::curl_easy_getinfo)* easy_getinfo = nullptr;
  decltype(::curl_easy_perform)* easy_perform = nullptr;
  decltype(::curl_easy_strerror)* easy_strerror = nullptr;
  decltype(::curl_multi_init)* multi_init = nullptr;
  decltype(::curl_multi_cleanup)* multi_cleanup = nullptr;
  decltype(::curl_multi_setopt)* multi_setopt = nullptr;
  decltype(::curl_multi_add_handle)* multi_add_handle = nullptr;
  decltype(::curl_multi_remove_handle)* multi_remove_handle = nullptr;
  decltype(::curl_multi_socket_action)* multi_socket_action = nullptr;
  decltype(::curl_multi_info_read)* multi_info_read = nullptr;
};

}  // namespace doppel::block::http
