# frozen_string_literal: true

require_relative "helper"
require "puma"
require "puma/server"
require "selenium-webdriver"

# The dashboard in Chromium, under its own content security policy.
RSpec.describe "The dashboard in a browser" do
  chromium = ENV["CHROMIUM"] || "/usr/bin/chromium"
  chromedriver = ENV["CHROMEDRIVER"] || "/usr/bin/chromedriver"
  before(:context) do
    [chromium, chromedriver].each { |file| skip "needs #{file}" unless File.executable?(file) }
  end

  def driver(chromium, chromedriver)
    flags = %w[--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
               --disable-component-update --disable-sync --window-size=800,900]
    flags << "--user-data-dir=#{FOLDER}/chromium"
    options = Selenium::WebDriver::Chrome::Options.new(args: flags, binary: chromium)
    options.add_option("goog:loggingPrefs", { browser: "ALL" })
    service = Selenium::WebDriver::Service.chrome(path: chromedriver)
    Selenium::WebDriver.for(:chrome, service:, capabilities: options)
  end

  before do
    reset
    Transfer::Rails.settings.access = ->(_request) { true }
  end

  after do
    Transfer::Rails.settings.access = nil
    reset
  end

  # Threads and processes of the browser and of Puma end with the block.
  def serving(chromium, chromedriver)
    server = Puma::Server.new(Rails.application, nil, { min_threads: 1, max_threads: 3 })
    port = server.add_tcp_listener("127.0.0.1", 0).addr[1]
    server.run
    browser = driver(chromium, chromedriver)
    yield browser, "http://127.0.0.1:#{port}/transfer"
  ensure
    browser&.quit
    server&.stop(true)
  end

  def wait(&) = Selenium::WebDriver::Wait.new(timeout: 60).until(&)

  it "labels by the keyboard, follows a training, and keeps the console empty" do
    Transfer::Testing.fake!(photos_kind: { "red" => 0.6, "blue" => 0.4 })
    labelled(count: 2).each { |one| one.prediction_for(:kind).learn_label }
    model = Transfer::Rails.model("photos_kind")
    run = model.runs.create!(recipe: "PhotoKindRecipe", status: "running", heartbeat_at: Time.current,
                             progress: { share: 0.25, title: "train" }, history: [{ loss: 2.0 }, { loss: 1.0 }])

    serving(chromium, chromedriver) do |browser, url|
      browser.navigate.to("#{url}/models/photos_kind/reviews")
      expect(browser.find_element(css: ".review img").property(:naturalWidth)).to eq(32)
      expect(browser.find_element(tag_name: "main").text).to include("4 predictions wait")
      browser.action.send_keys("1").perform
      wait { browser.find_element(tag_name: "main").text.include?("3 predictions wait") }
      expect(Transfer::Rails::Feedback.sole.label).to eq("blue")

      browser.navigate.to("#{url}/runs/#{run.id}")
      expect(browser.find_element(css: "progress").attribute("value")).to eq("0.25")
      run.update!(progress: { share: 0.75, title: "train" })
      wait { browser.find_element(css: "progress").attribute("value") == "0.75" }
      run.update!(status: "succeeded")
      wait { browser.find_elements(css: "progress, form").empty? }

      ["", "/models/photos_kind", "/runs"].each { |path| browser.navigate.to("#{url}#{path}") }
      expect(browser.logs.get(:browser).map(&:message)).to be_empty
      # Wider than the window, nothing may be scrolled sideways.
      expect(browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")).to be(true)
    end
  end
end
