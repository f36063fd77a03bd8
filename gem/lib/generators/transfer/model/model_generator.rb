# frozen_string_literal: true

require "rails/generators"

module Transfer
  module Generators
    # `bin/rails generate transfer:model Photo kind`
    class ModelGenerator < ::Rails::Generators::NamedBase
      source_root File.expand_path("templates", __dir__)
      desc "Adds a prediction to a model of the application, and its recipe."

      argument :prediction, type: :string, banner: "prediction", desc: "name of the predicted attribute, such as kind"
      class_option :from, type: :string, desc: "attachment, text column, or columns with commas"
      class_option :backbone, type: :string, default: "mobilenet_v2", desc: "see transfer backbones"
      class_option :labels, type: :string, desc: "method that returns the known label of a record"

      # Checks the name.
      def check
        return if prediction.match?(/\A[a-z_]\w*\z/)

        raise Thor::Error, "the name of a prediction is like that of a method, got #{prediction.inspect}"
      end

      # Writes the recipe.
      def recipe
        template "recipe.rb.tt", File.join("app/recipes", "#{recipe_name.underscore}.rb")
      end

      # Writes `has_prediction` into the class, below its last attachment.
      def macro
        raise Thor::Error, "#{file} does not exist. Fix: name a model of this application" unless File.exist?(full_path)

        attached = File.readlines(full_path).reverse.find { |line| line.match?(/^\s*has_one_attached\b/) }
        anchor = attached || File.readlines(full_path).find { |line| line.match?(/^\s*class\s/) }
        indent = anchor[/\A */] + (attached ? "" : "  ")
        insert_into_file file, "#{indent}#{macro_line}\n", after: anchor
      end

      # Prints the commands that follow.
      def next_steps
        say <<~TEXT

          Next:
            bin/rails console
            #{class_name}.find(1).correct_#{prediction}!("…")     # labels, unless the class has `labels:`
            #{class_name}.train_prediction(:#{prediction})
        TEXT
      end

      private

      def file = File.join("app/models", "#{file_path}.rb")
      def full_path = File.join(destination_root, file)
      def recipe_name = "#{class_name.delete_suffix('Record')}#{prediction.camelize}Recipe"

      def macro_line
        words = { from: source, labels: options[:labels] && ":#{options[:labels]}", accept: 0.9 }.compact
        "has_prediction :#{prediction}, #{words.map { |word, value| "#{word}: #{value}" }.join(', ')}"
      end

      def source
        return File.read(full_path)[/^\s*has_one_attached\s+(:\w+)/, 1] || ":file" unless options[:from]

        names = options[:from].split(",").map { |name| ":#{name.strip}" }
        names.one? ? names.first : "[#{names.join(', ')}]"
      end
    end
  end
end
