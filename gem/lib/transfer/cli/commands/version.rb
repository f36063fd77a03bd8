# frozen_string_literal: true

module Transfer
  module CLI
    class Root
      desc "version", "Show the versions of gem, core, Python and PyTorch"
      long_desc <<~TEXT
        The gem's version is printed even if the training core is not usable.

          transfer version
      TEXT
      shared_options :json
      def version
        core = Doctor.core_versions
        output({ transfer: VERSION, ruby: RUBY_VERSION, **core }) do
          gem = "transfer-rb #{VERSION} (Ruby #{RUBY_VERSION})"
          next [gem, "transfer-core: not usable. Try: transfer doctor"] if core.empty?

          [gem, format("transfer-core %<transfer_core>s (Python %<python>s, PyTorch %<torch>s)", core)]
        end
      end
    end
  end
end
