# frozen_string_literal: true

module Transfer
  module Onnx
    # Finds libonnxruntime: `Transfer.config.onnxruntime` and nothing else if it is set; the gem onnxruntime; Python
    # environments that Ruby's search for Python uses as well; the directories of the system.
    module RuntimePlaces
      FIX = "Fix: gem install onnxruntime, or apt-get install libonnxruntime1.21, or set TRANSFER_ONNXRUNTIME to the " \
            "path of libonnxruntime.so"
      FILES = "libonnxruntime{.so.*,{,.*}.{so,dylib}}"
      FOLDERS = %w[/usr/local/lib /usr/lib/*-linux-gnu /usr/lib64 /usr/lib /opt/homebrew/lib].freeze
      NAMES = %w[libonnxruntime.so.1 libonnxruntime.so libonnxruntime.dylib].freeze
      private_constant :FILES, :FOLDERS, :NAMES

      class << self
        # @return [Array<String>] files, and names that the dynamic linker searches
        # @raise [ConfigurationError] if the setting names no file
        def candidates
          chosen = Transfer.config.onnxruntime
          return configured(chosen) if chosen

          [*of_gem, *of_python, *FOLDERS.flat_map { |folder| within(folder) }, *NAMES]
        end

        # @return [String] the message if none of them can be opened
        def missing
          chosen = Transfer.config.onnxruntime
          return "#{chosen} can't be opened as a library. #{FIX}" if chosen

          "found no ONNX Runtime (libonnxruntime) in the gem onnxruntime, in a Python environment, or in " \
            "#{FOLDERS.join(', ')}. #{FIX}"
        end

        private

        def configured(chosen)
          path = File.expand_path(chosen)
          return within(path) if File.directory?(path)
          return [path] if File.file?(path)

          raise ConfigurationError, "TRANSFER_ONNXRUNTIME: there is no file #{path}. #{FIX}"
        end

        def of_gem
          folder = Gem::Specification.find_all_by_name("onnxruntime").map do |spec|
            File.join(spec.full_gem_path, "vendor")
          end
          folder.flat_map { |vendor| within(vendor) }
        end

        def of_python
          folders = [Python.environment, File.join(Python::ROOT, ".venv"), ENV.fetch("VIRTUAL_ENV", "")]
          folders.reject(&:empty?).flat_map { |root| within("#{root}/lib/python3*/site-packages/onnxruntime/capi") }
        end

        # @return [Array<String>] the newest first
        def within(folder)
          Dir.glob("#{folder}/#{FILES}").sort_by { |path| File.basename(path).scan(/\d+/).map(&:to_i) }.reverse
        end
      end
    end
    private_constant :RuntimePlaces
  end
end
