# frozen_string_literal: true

require "json"
require_relative "axe"

# Chromium without a window, for files that open without a server.
module Browser
  CHROMIUM = ENV["CHROMIUM"] || "/usr/bin/chromium"
  CHROMEDRIVER = ENV["CHROMEDRIVER"] || "/usr/bin/chromedriver"
  FLAGS = %w[--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
             --disable-component-update --disable-sync --window-size=1000,900].freeze

  # @return [String, nil] a program that is missing
  def self.missing = [CHROMIUM, CHROMEDRIVER].find { |file| !File.exist?(file) }

  # Opens a browser whose processes end with the block.
  # @param folder [String] of its profile
  # @yieldparam page [Page]
  def browse(folder)
    require "selenium-webdriver"
    options = Selenium::WebDriver::Chrome::Options.new(args: [*FLAGS, "--user-data-dir=#{folder}"], binary: CHROMIUM)
    options.add_option("goog:loggingPrefs", { browser: "ALL", performance: "ALL" })
    service = Selenium::WebDriver::Service.chrome(path: CHROMEDRIVER)
    driver = Selenium::WebDriver.for(:chrome, service:, capabilities: options)
    yield Page.new(driver)
  ensure
    driver&.quit
  end

  # An opened file.
  Page = Struct.new(:driver) do
    # @param file [String]
    # @param scheme [String] `light` or `dark`
    def open(file, scheme: "light")
      features = [{ name: "prefers-color-scheme", value: scheme }]
      driver.execute_cdp("Emulation.setEmulatedMedia", media: "", features:)
      driver.navigate.to("file://#{file}")
    end

    def text = driver.find_element(tag_name: "body").text

    def run(script) = driver.execute_script("return #{script}")

    # @return [Array<String>] messages on the console
    def console = driver.logs.get(:browser).map(&:message)

    # @return [Array<String>] addresses that opened files have requested, other than data in them
    def requests
      events = driver.logs.get(:performance).map { |entry| JSON.parse(entry.message).fetch("message") }
      sent = events.select { |event| event["method"] == "Network.requestWillBeSent" }
      of_files = sent.map { |event| event["params"] }.select { |params| params["documentURL"].start_with?("file:") }
      of_files.map { |params| params.dig("request", "url") }.grep_v(/\A(file|data):/)
    end

    # @return [Array<String>] violations of WCAG 2.2 AA and of best practices
    def violations = Axe.violations(driver)

    # Presses Tab until an element has the focus.
    # @param css [String]
    def tab_to(css)
      200.times do
        return if run("document.activeElement.matches(#{css.to_json})")

        press(:tab)
      end
      raise "no #{css} is reached by Tab"
    end

    def press(key) = driver.action.send_keys(key).perform
  end
end
