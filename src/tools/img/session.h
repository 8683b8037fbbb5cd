// What every command works with: a loop for the block layer, and images that are closed behind it.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "block/context.h"
#include "block/image/graph.h"
#include "block/image/open_image.h"
#include "block/qcow2/image.h"
#include "tools/common/arguments.h"

namespace doppel::img {

using tools::Arguments;
using tools::OptionRow;

class Session {
 public:
  template <class T>
  T run(block::Task<T> task) {
    return block::run_to_end(loop_, std::move(task));
  }
  [[nodiscard]] block::Context& context() { return context_; }
  [[nodiscard]] block::Graph& graph() { return graph_; }
  /// --object TYPE,id=ID,key=value or its JSON.
  Result<> add_object(std::string_view text);

 private:
  event::Loop loop_;
  block::Context context_{loop_};
  block::Graph graph_{context_};
};

/// What an image is opened with: a file name and the rest, or --image-opts instead of both.
struct OpenRequest : block::ImageOptions {
  std::optional<block::NodeOptions> nodes{};
};

/// An image that is open. close() tells whether all is safe; without it, as after an error, it is closed all the same.
class OpenImage {
 public:
  static Result<OpenImage> open(Session& session, OpenRequest request);

  OpenImage(OpenImage&&) = default;
  OpenImage& operator=(OpenImage&&) = delete;
  ~OpenImage() {
    if (node_) (void)session_->run(node_->close());
  }
  Result<> close() {
    const block::NodePtr node = std::exchange(node_, nullptr);
    return session_->run(node->close());
  }

  [[nodiscard]] block::Node& node() const { return *node_; }
  [[nodiscard]] const std::string& filename() const { return filename_; }
  // Each null if the format is not of that kind.
  [[nodiscard]] block::Checkable* checkable() const { return as<block::Checkable>(); }
  [[nodiscard]] block::CompressedTarget* compressed_target() const { return as<block::CompressedTarget>(); }
  [[nodiscard]] block::qcow2::Image* qcow2() const { return as<block::qcow2::Image>(); }
  [[nodiscard]] block::PasswordHolder* password_holder() const { return as<block::PasswordHolder>(); }

 private:
  template <class T>
  [[nodiscard]] T* as() const {
    return dynamic_cast<T*>(&block::without_filters(*node_));
  }

  OpenImage(Session& session, block::NodePtr node, std::string filename)
      : session_(&session), node_(std::move(node)), filename_(std::move(filename)) {}

  Session* session_;
  block::NodePtr node_;
  std::string filename_;
};

/// Open options that most commands have: -f, -U, --image-opts, and the cache mode in option CACHE.
Result<OpenRequest> image_options(const Arguments& arguments, const std::string& filename, bool writable,
                                  std::string_view cache = "t", std::string_view default_cache = "writeback");

/// Likewise of what is always a file name.
Result<OpenRequest> file_image_options(const Arguments& arguments, const std::string& filename, bool writable,
                                       std::string_view cache = "t", std::string_view default_cache = "writeback");

/// The one file name that is expected; WHAT names it in the error.
Result<std::string> only_filename(const Arguments& arguments, std::string_view what = "image file name");

}  // namespace doppel::img
