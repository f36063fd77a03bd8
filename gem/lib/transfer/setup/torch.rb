# frozen_string_literal: true

require "open3"

module Transfer
  class Setup
    # A build of PyTorch: for the CPU, or for a CUDA version.
    class Torch
      # Index of the builds that are not on PyPI.
      WHEELS = "https://download.pytorch.org/whl"
      VERSION = /\A\d{1,2}\.\d{1,2}\z/
      PACKAGES = %w[torch torchvision].freeze
      # Does not import torch, which takes seconds.
      BUILD = "import importlib.util as u, runpy; folder, = u.find_spec('torch').submodule_search_locations; " \
              "print(runpy.run_path(folder + '/version.py')['cuda'] or 'cpu')"
      PINS = "from importlib.metadata import version; print(*(f'{p}=={version(p)}' " \
             "for p in #{PACKAGES.inspect}))".freeze
      private_constant :VERSION, :PACKAGES, :BUILD, :PINS

      # @return [String] `cpu` or a CUDA version
      attr_reader :build

      # @param build [String, Symbol, Numeric]
      # @raise [ConfigurationError]
      def initialize(build)
        @build = build.to_s
        return if @build == "cpu" || VERSION.match?(@build)

        raise ConfigurationError, "\"#{build}\" is not a CUDA version, expected MAJOR.MINOR such as 12.6. " \
                                  "Fix: transfer setup --cuda 12.6; nvidia-smi prints the version"
      end

      # @return [String] the package index of this build
      def index = "#{WHEELS}/#{build == 'cpu' ? 'cpu' : "cu#{build.delete('.')}"}"

      # @return [String] such as `CUDA 12.6`
      def to_s = build == "cpu" ? "CPU" : "CUDA #{build}"

      # @param interpreter [String]
      # @return [Boolean] whether this build is installed
      def installed?(interpreter) = output(interpreter, BUILD) == build

      # Installs the build from its index or from pip's configured find-links, never from PyPI. Only this download needs
      # the index.
      #
      # @param interpreter [String]
      # @yieldparam arguments [Array<String>] of `pip install`
      # @return [Array<String>] requirements that pin this build
      # @raise [DependencyError]
      def install(interpreter, &)
        download(&) unless installed?(interpreter)
        raise DependencyError, failure("the index has another build") unless installed?(interpreter)

        output(interpreter, PINS).split
      end

      private

      def download
        yield "--no-deps", "--index-url", index, *requirements
      rescue DependencyError => error
        raise DependencyError, failure(error.message)
      end

      def failure(cause)
        "can't install PyTorch for #{self} from #{index}: #{cause}. Fix: allow access to this address, or set " \
          "PIP_FIND_LINKS to a directory with the wheels of this build"
      end

      def requirements
        project = File.read(File.join(Python::ROOT, "pyproject.toml"))
        PACKAGES.map { |package| project[/"(#{package}[<>=][^"]*)"/, 1] }
      end

      def output(interpreter, code) = Open3.capture3(interpreter, "-c", code).first.strip
    end
  end
end
