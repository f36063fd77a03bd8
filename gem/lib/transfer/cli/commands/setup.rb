# frozen_string_literal: true

module Transfer
  module CLI
    class Root
      desc "setup", "Install PyTorch and the training core"
      long_desc <<~TEXT
        Creates an environment of its own with python3's venv and pip, in
        ~/.local/share/transfer/env or in TRANSFER_HOME. Run it again after an update of
        the gem; it does nothing if nothing changed.

          transfer setup                    PyTorch of PyPI: with CUDA on Linux, about
                                            3 GB to download, 6 GB on disk
          transfer setup --cpu              without CUDA: about 280 MB, 1.1 GB on disk
          transfer setup --cuda 12.6        PyTorch for this CUDA version
          transfer setup --extras parquet   optional packages, added to earlier ones
          transfer setup --offline          also pretrained weights and timm, to train
                                            with mobilenet_v2 without a network

        An option that is left out keeps its value. Another Python or PyTorch build
        rebuilds the environment; if that fails, the present one is kept. To begin again
        without options: transfer uninstall.

        Extras:
        #{Setup.extras.join(', ').gsub(/(.{1,68}(?:,|\z)) ?/, "  \\1\n").chomp}
      TEXT
      option :cpu, type: :boolean, desc: "PyTorch without CUDA"
      option :cuda, banner: "VERSION", desc: "PyTorch for this CUDA version, such as 12.6"
      option :extras, banner: "A,B", desc: "Add these extras, separated by commas"
      option :offline, type: :boolean, desc: "Install pretrained weights"
      option :python, banner: "PATH", desc: "Use this Python (3.10 or newer)"
      option :force, type: :boolean, desc: "Rebuild with the same options"
      shared_options :json
      def setup
        raise Thor::Error, "give --cpu or --cuda, not both" if options[:cpu] && options[:cuda]

        words = { python: options[:python], torch: options[:cpu] ? "cpu" : options[:cuda],
                  extras: options[:extras]&.split(","), offline: options[:offline] }
        python = Setup.new(**words.compact).run(force: options[:force])
        output({ python: }) { "Ready: #{python}" }
      end
    end
  end
end
