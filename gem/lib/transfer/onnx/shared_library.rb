# frozen_string_literal: true

module Transfer
  module Onnx
    # A library of the system, called through Fiddle without the lock of the interpreter.
    class SharedLibrary
      # @return [String] the file or the name that was opened
      attr_reader :path

      # @param candidates [Array<String>] files and names, in order of preference
      # @return [SharedLibrary, nil] the first that can be opened
      def self.open(candidates)
        require_fiddle
        candidates.each do |path|
          # Symbols of other libraries in the process are neither used nor replaced.
          return new(path, Fiddle::Handle.new(path, Fiddle::Handle::RTLD_NOW))
        rescue Fiddle::DLError
          next
        end
        nil
      end

      def self.require_fiddle
        require "fiddle"
      rescue LoadError
        raise DependencyError, "Ruby's fiddle is not installed. Fix: gem install fiddle"
      end
      private_class_method :require_fiddle

      # @param path [String]
      # @param handle [Fiddle::Handle]
      def initialize(path, handle)
        @path = path
        @handle = handle
      end

      # @param name [String] of a function
      # @param arguments [Array<Integer>] types of Fiddle
      # @param result [Integer] a type of Fiddle
      # @return [Fiddle::Function]
      def function(name, arguments, result = Fiddle::TYPE_INT)
        Fiddle::Function.new(@handle[name], arguments, result, name:)
      end

      # @return [Boolean] whether it has a function of this name
      def function?(name)
        @handle.sym(name) ? true : false
      rescue Fiddle::DLError
        false
      end
    end
    private_constant :SharedLibrary
  end
end
