# frozen_string_literal: true

require_relative "../doctor"
require_relative "../setup"

module Transfer
  # The Python half on this machine.
  class CLI
    # The names, as many to a line as fit.
    def self.extras_in_lines
      Setup.extras.join(", ").gsub(/(.{1,68}(?:,|\z)) ?/, "  \\1\n").chomp
    end
    private_class_method :extras_in_lines

    desc "setup", "Install the Python half: PyTorch and the training core"
    long_desc <<~TEXT, wrap: false
      Makes an environment of its own, ~/.local/share/transfer/env or the one in
      TRANSFER_HOME, with python3's venv and pip. Run it again after an update of the
      gem; when nothing changed it does nothing.

        transfer setup                    PyTorch as PyPI has it: on Linux with CUDA,
                                          about 3 GB, 6 GB on disk
        transfer setup --cpu              without CUDA: about 200 MB, 900 MB on disk
        transfer setup --cuda 12.6        PyTorch for this CUDA version
        transfer setup --extras parquet   optional parts, added to those before
        transfer setup --offline          brings pretrained weights along, and timm,
                                          so that a training with mobilenet_v2 never
                                          needs the network afterwards

      An option that is left out stays as it was. Another Python or another build of
      PyTorch rebuilds the environment; if that fails, the one before is kept. To
      begin again without any option: transfer uninstall.

      Extras:
      #{extras_in_lines}
    TEXT
    option :cpu, type: :boolean, desc: "PyTorch without CUDA"
    option :cuda, banner: "VERSION", desc: "PyTorch for this CUDA version, such as 12.6"
    option :extras, banner: "A,B", desc: "Add these extras, separated by commas"
    option :offline, type: :boolean, desc: "Bring pretrained weights along"
    option :python, banner: "PATH", desc: "Build upon this Python (3.10 or newer)"
    option :force, type: :boolean, desc: "Rebuild, with the same options"
    json_option
    # Installs the managed Python environment.
    def setup
      raise Thor::Error, "give --cpu or --cuda, not both" if options[:cpu] && options[:cuda]

      words = { python: options[:python], torch: options[:cpu] ? "cpu" : options[:cuda], extras: list(:extras),
                offline: options[:offline] }
      python = Setup.new(**words.compact).run(force: options[:force])
      answer({ python: }) { puts "Ready: #{python}" }
    end

    OUTCOMES = { true => "ok", false => "FAULT" }.freeze
    private_constant :OUTCOMES

    desc "doctor", "Find out what is missing, and how to mend it"
    long_desc <<~TEXT, wrap: false
      Checks the interpreter, the versions, PyTorch and its devices, the pretrained
      weights and the disk. Ends with status 1 if something is broken; every fault
      comes with the command that mends it.

      With --bridge it tries out the way to Python instead: a worker is started,
      called, killed and stopped. Its last line is about the worker that predicts, if
      processes share one (transfer help worker).

        transfer doctor
        transfer doctor --bridge
    TEXT
    option :bridge, type: :boolean, desc: "Try out the way to Python"
    json_option
    # Checks both halves.
    def doctor
      checks = options[:bridge] ? Doctor.bridge_checks : Doctor.checks
      answer(checks.map(&:to_h)) do
        puts Table.render(checks.map { |check| [OUTCOMES[check.ok], check.name, check.detail] })
        checks.select(&:mendable?).each { |check| puts "To mend #{check.name}: #{check.remedy}" }
      end
      finish FAULT unless checks.all?(&:ok)
    end

    desc "version", "The versions of both halves"
    json_option
    # Prints versions.
    def version
      core = Doctor.core_versions
      answer({ transfer: VERSION, ruby: RUBY_VERSION, **core }) do
        puts "transfer-rb #{VERSION} (Ruby #{RUBY_VERSION})"
        next puts "transfer-core: not usable, transfer doctor says why" if core.empty?

        puts format("transfer-core %<transfer_core>s (Python %<python>s, PyTorch %<torch>s)", core)
      end
    end
  end
end
