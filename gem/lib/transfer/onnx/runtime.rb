# frozen_string_literal: true

require_relative "protobuf"
require_relative "shared_library"
require_relative "runtime_places"

module Transfer
  module Onnx
    # The C API of ONNX Runtime, one table of function pointers per process. The place of a function in the table never
    # changes, so that any library from {OLDEST} on fits.
    class Runtime
      # The first version with the operators of the exported graphs.
      OLDEST = Gem::Version.new("1.17")

      # Raised for a failed call, with ONNX Runtime's message.
      class Failure < StandardError; end

      # Functions that take longer than a switch between threads; only they release the interpreter's lock.
      SLOW = %i[create_session run release_session].freeze
      # Place in `OrtApi` (onnxruntime_c_api.h), and types: p pointer, z size, i integer.
      FUNCTIONS = {
        error_message: [2, "p"], create_env: [3, "ipp"], create_session: [8, "ppzpp"], run: [9, "ppppzpzp"],
        create_options: [10, "p"], disable_memory_pattern: [17, "p"], disable_arena: [19, "p"],
        set_intra_op_threads: [24, "pi"], create_tensor: [48, "ppzip"], wrap_tensor: [49, "ppzpzip"],
        tensor_data: [51, "pp"], fill_strings: [52, "ppz"], element_type: [60, "pp"], dimension_count: [61, "pp"],
        dimensions: [62, "ppz"], type_and_shape: [65, "pp"], create_cpu_memory_info: [69, "iip"],
        default_allocator: [78, "p"], set_config: [130, "ppp"], create_first_session: [8, "ppzpp"]
      }.freeze
      RELEASES = { status: 93, session: 95, value: 96, type_and_shape: 99, options: 100 }.freeze
      # `ORT_LOGGING_LEVEL_FATAL`: errors are raised, not written to standard error.
      FATAL = 4
      # Of glibc's malloc.h; and bytes from which on an allocation is returned to the system when it is freed.
      M_MMAP_THRESHOLD = -3
      RETURNED_BYTES = 1_000_000
      private_constant :M_MMAP_THRESHOLD, :RETURNED_BYTES, :SLOW, :FUNCTIONS, :RELEASES, :FATAL

      @mutex = Mutex.new

      class << self
        # @return [Runtime] the one of this process; Ruby forks share it
        # @raise [DependencyError] if ONNX Runtime is not found, or too old
        def instance = @mutex.synchronize { @instance ||= open }

        # Runs a block while no session is being created by {instance}.
        def while_unlocked(&) = @mutex.owned? ? yield : @mutex.synchronize(&)

        private

        def open
          quietly do
            library = SharedLibrary.open(RuntimePlaces.candidates)
            raise DependencyError, RuntimePlaces.missing unless library

            return_large_memory
            new(library).tap(&:register_operators)
          end
        end

        # glibc keeps freed memory of the size of an image for each thread, unless its threshold is fixed.
        def return_large_memory
          types = [[Fiddle::TYPE_INT] * 2, Fiddle::TYPE_INT]
          Fiddle::Function.new(Fiddle::Handle::DEFAULT["mallopt"], *types).call(M_MMAP_THRESHOLD, RETURNED_BYTES)
        rescue Fiddle::DLError
          nil # another C library
        end

        # Debian's library writes a thousand lines about operators that it registers twice. No other thread of Ruby
        # writes meanwhile: the interpreter's lock is held.
        def quietly
          stream = standard_error or return yield
          before = stream.dup
          stream.reopen(File::NULL, "w")
          begin
            yield
          ensure
            stream.reopen(before)
            before.close
          end
        end

        # @return [IO, nil] descriptor 2; nil if it is closed
        def standard_error
          IO.for_fd(2, autoclose: false)
        rescue Errno::EBADF
          nil
        end
      end

      # @return [String] such as 1.21.0
      attr_reader :version
      # @return [String] the file of the library
      attr_reader :path

      # @param library [SharedLibrary]
      # @raise [DependencyError] if the library is not ONNX Runtime, or too old
      def initialize(library)
        @path = library.path
        base = pointers(library.function("OrtGetApiBase", [], Fiddle::TYPE_VOIDP).call, 2)
        @version = Fiddle::Function.new(base[1], [], Fiddle::TYPE_VOIDP).call.to_s
        check_version
        api = Fiddle::Function.new(base[0], [-Fiddle::TYPE_INT], Fiddle::TYPE_VOIDP).call(minor)
        fill(pointers(api, FUNCTIONS.each_value.map(&:first).max + 1))
        @env = out { |env| call(:create_env, FATAL, "transfer", env) }
      rescue Fiddle::DLError
        raise DependencyError, "#{@path} is not ONNX Runtime. #{RuntimePlaces::FIX}", cause: nil
      end

      # Creates a first session, of a graph with one operator, with the interpreter's lock.
      def register_operators
        model = Protobuf.message(1 => 8, 8 => { 2 => 18 }, 7 => {
                                   1 => { 1 => "a", 2 => "b", 4 => "Identity" }, 2 => "first",
                                   11 => { 1 => "a", 2 => { 1 => { 1 => 1, 2 => {} } } }, 12 => { 1 => "b" }
                                 })
        options = out { |pointer| call(:create_options, pointer) }
        release(:session, out { |out| call(:create_first_session, env, model, model.bytesize, options, out) })
      ensure
        release(:options, options) if options
      end

      # @return [Integer] address of the environment
      attr_reader :env

      # @return [Integer] address of the description of the main memory
      def memory_info = @memory_info ||= out { |info| call(:create_cpu_memory_info, 1, 0, info) }

      # @return [Integer] address of the allocator of tensors of strings
      def allocator = @allocator ||= out { |allocator| call(:default_allocator, allocator) }

      # @param name [Symbol]
      # @raise [Failure]
      def call(name, *arguments)
        status = @functions.fetch(name).call(*arguments)
        return if status.null?

        message = @functions[:error_message].call(status).to_s.force_encoding(Encoding::UTF_8).scrub
        release(:status, status)
        raise Failure, message
      end

      # @yieldparam pointer [Fiddle::Pointer] memory for an address
      # @return [Integer] the address that the block stored
      def out
        pointer = Fiddle::Pointer[("\0" * Fiddle::SIZEOF_VOIDP).b]
        yield pointer
        pointer[0, Fiddle::SIZEOF_VOIDP].unpack1("J")
      end

      # @param kind [Symbol]
      # @param address [Integer, Fiddle::Pointer]
      def release(kind, address) = @releases.fetch(kind).call(address)

      private

      def minor = version[/\A1\.(\d+)/, 1].to_i

      def check_version
        return if version.match?(/\A1\.\d+/) && Gem::Version.new(version[/\A[\d.]+\d/]) >= OLDEST

        raise DependencyError, "ONNX Runtime #{version.empty? ? 'of unknown version' : version} at #{path}, expected " \
                               "#{OLDEST} or later. #{RuntimePlaces::FIX}"
      end

      def pointers(address, count)
        size = count * Fiddle::SIZEOF_VOIDP
        Fiddle::Pointer.new(address.to_i, size)[0, size].unpack("J*")
      end

      def fill(api)
        types = { "p" => Fiddle::TYPE_VOIDP, "z" => Fiddle::TYPE_SIZE_T, "i" => Fiddle::TYPE_INT }
        @functions = FUNCTIONS.to_h do |name, (place, arguments)|
          [name, Fiddle::Function.new(api.fetch(place), arguments.chars.map(&types), Fiddle::TYPE_VOIDP,
                                      need_gvl: !SLOW.include?(name))]
        end
        @releases = RELEASES.to_h do |kind, place|
          [kind, Fiddle::Function.new(api.fetch(place), [Fiddle::TYPE_VOIDP], Fiddle::TYPE_VOID,
                                      need_gvl: !SLOW.include?(:"release_#{kind}"))]
        end
      end
    end
    private_constant :Runtime
  end
end
