# frozen_string_literal: true

module Transfer
  module CLI
    # Completion scripts of shells, generated from the table of commands and options.
    module Completions
      # The words that lead to a place on the command line, and what may follow: words with descriptions, and options.
      Place = ::Data.define(:path, :words, :options)
      private_constant :Place

      class << self
        # @param shell [String] bash, zsh or fish
        # @return [String] a script
        # @raise [Thor::Error] for another shell
        def script(shell)
          case shell
          when "bash" then bash
          when "zsh" then zsh
          when "fish" then fish
          else raise Thor::Error, Suggestion.unknown("shell", shell, %w[bash zsh fish])
          end
        end

        private

        def bash = <<~BASH
          # Completion of transfer in bash
          _transfer() {
            local word at="" before=${COMP_WORDS[COMP_CWORD-1]} choices=()
            for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
          #{descent}
            done
            word=${COMP_WORDS[COMP_CWORD]}
          #{choices { |name, _| name }}
            COMPREPLY=($(compgen -W "${choices[*]}" -- "$word"))
          }
          complete -o default -F _transfer transfer
        BASH

        def zsh = <<~ZSH
          #compdef transfer
          _transfer() {
            local word at="" before=${words[CURRENT-1]}
            local -a choices
            for word in "${(@)words[2,CURRENT-1]}"; do
          #{descent}
            done
            word=$PREFIX
          #{choices { |name, text| quoted("#{name}:#{text}") }}
            if (( $#choices )); then _describe transfer choices; else _files; fi
          }
          if [[ $funcstack[1] == _transfer ]]; then _transfer "$@"; else compdef _transfer transfer; fi
        ZSH

        def fish = <<~FISH
          # Completion of transfer in fish
          function __transfer_at
              set -l at ""
              for word in (commandline -opc)[2..-1]
                  switch "$at $word"
                      case #{steps.join(' ')}
                          set at (string trim -- "$at $word")
                  end
              end
              test "$at" = "$argv"
          end
          #{places.flat_map { |place| fish_lines(place) }.join("\n")}
        FISH

        # @return [Array<Place>]
        def places(thor_class = Root, path = [])
          commands = thor_class.visible.to_h { |command| [thor_class.word(command), command.description] }
          inner = thor_class.visible.flat_map do |command|
            group = thor_class.subcommand_classes[command.name]
            group ? places(group, [command.name]) : place([*path, thor_class.word(command)], command)
          end
          here = Place.new(path, commands, [])
          path.empty? ? [here, here.with(path: ["help"]), *inner] : [here, *inner]
        end

        # `completions bash|zsh|fish` takes one of these words.
        def place(path, command)
          words = command.usage.split.last.split("|")
          Place.new(path, words.one? ? {} : words.to_h { |word| [word, command.description] }, command.options.values)
        end

        # The steps from a place to the next, as patterns of a `case`: `"runs show"`, `" train"`.
        def steps = places.map(&:path).reject(&:empty?).map { |path| %("#{path[..-2].join(' ')} #{path.last}") }

        # Follows the words of the command line; the same in bash and zsh.
        def descent = <<-SHELL.chomp
    case "$at $word" in
      (#{steps.join('|')}) at="${at:+$at }$word" ;;
    esac
        SHELL

        # Chooses what may follow: a value of the option before, an option, a word; the same in bash and zsh.
        # @yieldparam name [String]
        # @yieldparam text [String] its description
        # @yieldreturn [String] a word of the shell
        def choices(&)
          followers = places.flat_map do |place|
            { "-" => place.options.to_h { |option| [option.switch_name, option.description] }, "" => place.words }
              .map { |start, words| arm(%("#{place.path.join(' ')},#{start}"*), words, &) }
          end
          ["  case \"$at $before\" in", *value_arms(&), "    (*) case \"$at,$word\" in",
           *followers.compact.map { |line| "  #{line}" }, "    esac ;;", "  esac"].join("\n")
        end

        # Options without a list of values are followed by files: no choices.
        def value_arms(&)
          options = places.flat_map do |place|
            place.options.reject(&:boolean?)
                 .map { |option| [option.enum, %("#{place.path.join(' ')} #{option.switch_name}")] }
          end
          options.group_by(&:first).map do |values, found|
            pattern = found.map(&:last).join("|")
            values ? arm(pattern, values.to_h { |value| [value, value] }, &) : "    (#{pattern}) ;;"
          end
        end

        # @return [String, nil] one case; nil without choices
        def arm(pattern, choices, &)
          "    (#{pattern}) choices=(#{choices.map(&).join(' ')}) ;;" unless choices.empty?
        end

        def fish_lines(place)
          start = "complete -c transfer -n '__transfer_at #{place.path.join(' ')}'"
          [*place.words.map { |name, text| "#{start} -f -a #{name} -d #{fish_quoted(text)}" },
           *place.options.map { |option| "#{start} -l #{fish_option(option)} -d #{fish_quoted(option.description)}" }]
        end

        def fish_option(option)
          value = option.enum ? " -x -a #{fish_quoted(option.enum.join(' '))}" : " -r" unless option.boolean?
          "#{option.switch_name.delete_prefix('--')}#{value}"
        end

        def quoted(text) = "'#{text.gsub("'") { "'\\''" }}'"

        def fish_quoted(text) = "'#{text.gsub(/['\\]/) { |char| "\\#{char}" }}'"
      end
    end
    private_constant :Completions
  end
end
