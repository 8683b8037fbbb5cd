// The images that doppel-nbd serves.
#pragma once

#include <memory>
#include <vector>

#include "block/context.h"
#include "block/image/graph.h"
#include "nbd/export.h"
#include "tools/nbd/options.h"

namespace doppel::nbd {

/// Images that are open, and the exports over them. close() comes before destruction.
class OpenExports {
 public:
  /// While CONTEXT's loop does not run.
  static Result<OpenExports> open(block::Context& context, const Options& options);

  /// A copy that refers to the images.
  [[nodiscard]] std::vector<Export> exports() const { return exports_; }
  void let_many_clients(bool many);
  /// While the loop does not run. The first failure counts, and all are closed.
  Result<> close(block::Context& context);

 private:
  std::unique_ptr<block::Graph> graph_;  // outlives the nodes
  std::vector<block::NodePtr> nodes_;
  std::vector<Export> exports_;
};

}  // namespace doppel::nbd
